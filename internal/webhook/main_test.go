package webhook

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/landlordhq/landlord/internal/outbound"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/secret"
)

func TestMain(m *testing.M) {
	if given := os.Getenv(childEnv); given != "" {
		err := beChild(given)
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(pgtest.Main(m))
}

// childEnv makes the test binary a replica with nothing but an engine, until it is
// killed: it holds the database's URL and the text of the keyring.
const (
	childEnv = "LANDLORD_TEST_WEBHOOK_CHILD"
	childUp  = "the child is up"
)

func beChild(given string) error {
	url, text, _ := strings.Cut(given, "\x1f")
	keys, err := secret.Parse(text)
	if err != nil {
		return err
	}
	ctx := context.Background()
	db, err := pg.Open(ctx, pg.Config{URL: url, MaxConns: 5, Session: Session()})
	if err != nil {
		return err
	}
	allow, err := outbound.ParseAllow("http://127.0.0.1:*")
	if err != nil {
		return err
	}
	client, err := outbound.New(outbound.Config{Allow: []outbound.Allow{allow}})
	if err != nil {
		return err
	}
	e, err := NewEngine(db, EngineConfig{
		Keys: keys, Send: client.Do, Poll: 100 * time.Millisecond, Timeout: time.Second, Lease: 6 * time.Second, InFlight: 16,
	})
	if err != nil {
		return err
	}
	e.Start(ctx, db)
	fmt.Println(childUp)
	select {}
}
