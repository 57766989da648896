//go:build unix

package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/embeddedpg"
	"github.com/landlordhq/landlord/internal/pg"
)

// URLs are the ways into one database, by role.
type URLs struct {
	App   string `json:"app"`   // the application's unprivileged role, under row-level security
	Owner string `json:"owner"` // owns the tables and migrates; row-level security binds it too
	Super string `json:"super"` // superuser, bound by nothing: for looking at what really is there
}

// binary is what a test binary holds for as long as it runs.
type binary struct {
	server URLs // of the database postgres
	name   string
	client *os.File // flocked: we live
	count  atomic.Int64

	urls URLs // of the clone that the binary's tests share
	db   *pg.DB
}

// shared is the binary's own. It can only be a variable: the tests of a binary
// have nothing else in common, and a package is not to need a TestMain for this.
var shared struct {
	once sync.Once
	*binary
	err error
}

// New returns the database that this test binary's tests share, a clone of the
// migrated schema, as the application's role. A test makes a tenant of its own
// in it and looks at nothing else.
func New(t testing.TB) *pg.DB {
	t.Helper()
	return join(t).db
}

// URL is the connection URL of New's database for the application's role.
func URL(t testing.TB) string {
	t.Helper()
	return join(t).urls.App
}

// OwnerURL is the connection URL of New's database for the role that owns the tables.
func OwnerURL(t testing.TB) string {
	t.Helper()
	return join(t).urls.Owner
}

// SuperURL is the connection URL of New's database for the superuser.
func SuperURL(t testing.TB) string {
	t.Helper()
	return join(t).urls.Super
}

// Clone returns a migrated database for this test alone, as the application's
// role. It is dropped with the test.
func Clone(t testing.TB) *pg.DB {
	t.Helper()
	db, err := open(t.Context(), CloneURLs(t).App, contextTracer{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// CloneURLs is Clone for who opens the connections himself, to trace them with
// a Log or as another role.
func CloneURLs(t testing.TB) URLs {
	t.Helper()
	b := join(t)
	template, err := templateName()
	if err != nil {
		t.Fatal(err)
	}
	return b.private(t, template)
}

// Empty returns a database of this test's own that was never migrated.
func Empty(t testing.TB) URLs {
	t.Helper()
	return join(t).private(t, "template1")
}

func (b *binary) private(t testing.TB, template string) URLs {
	t.Helper()
	name, err := b.clone(t.Context(), template)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := dropDatabase(ctx, b.server.Super, name); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return b.server.of(name)
}

// join makes the test binary a user of the server, once.
func join(t testing.TB) *binary {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves the integration tests out on purpose")
	}
	shared.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		shared.binary, shared.err = newBinary(ctx)
	})
	var missing *embeddedpg.NotFoundError
	switch {
	case errors.As(shared.err, &missing):
		t.Fatalf("this test needs PostgreSQL; get it with: make deps\n(%v)", shared.err)
	case shared.err != nil:
		t.Fatalf("test database: %v", shared.err)
	}
	return shared.binary
}

func newBinary(ctx context.Context) (*binary, error) {
	root, err := rootFolder()
	if err != nil {
		return nil, err
	}
	server, client, err := root.join(ctx)
	if err != nil {
		return nil, err
	}
	b := &binary{server: server, client: client, name: databasePrefix(client.Name())}
	template, err := templateName()
	if err != nil {
		return nil, err
	}
	name, err := b.clone(ctx, template)
	if err != nil {
		return nil, err
	}
	b.urls = server.of(name)
	b.db, err = open(ctx, b.urls.App, contextTracer{})
	return b, err
}

// clone makes a database. Its name says whose it is, so that the supervisor
// can drop what a killed test left.
func (b *binary) clone(ctx context.Context, template string) (string, error) {
	name := fmt.Sprintf("%s%d", b.name, b.count.Add(1))
	if err := createDatabase(ctx, b.server.Super, name, template); err != nil {
		return "", fmt.Errorf("clone %s: %w", template, err)
	}
	return name, nil
}

func open(ctx context.Context, url string, tracer contextTracer) (*pg.DB, error) {
	return pg.Open(ctx, pg.Config{
		URL: url, Tracer: tracer, AppName: "landlord-test",
		MaxConns: 10, AcquireTimeout: 30 * time.Second, // two race-detecting binaries share two cores
	})
}

// of returns the URLs of another database of the server.
func (u URLs) of(database string) URLs {
	swap := func(text string) string {
		parsed, err := url.Parse(text)
		if err != nil {
			return text // we wrote it: it parses
		}
		parsed.Path = "/" + database
		return parsed.String()
	}
	return URLs{App: swap(u.App), Owner: swap(u.Owner), Super: swap(u.Super)}
}

// Main wraps a testing.M so that the binary's connections are closed when its
// tests have run and goleak finds nothing of ours:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }
func Main(m *testing.M) Runner { return Runner{m} }

// Runner runs tests and closes the shared database after them.
type Runner struct{ m *testing.M }

// Run runs the tests.
func (r Runner) Run() int {
	code := r.m.Run()
	if shared.binary != nil && shared.db != nil {
		shared.db.Close()
	}
	return code
}
