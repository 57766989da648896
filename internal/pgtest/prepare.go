//go:build unix

package pgtest

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// PrepareAll prepares every statement among the string constants of the sql.go,
// and of a second idea's NAME_sql.go, in a package's folder ("." for the test's own) against the migrated schema,
// and plans it as the application's role in operator scope: a column that isn't
// there, a type that doesn't fit and a missing grant fail the test. Constants
// that don't begin like a statement are parts of others. Those named in except
// are left out: texts that only become a statement when they run.
func PrepareAll(t testing.TB, dir string, except ...string) {
	t.Helper()
	statements, err := sqlConstants(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(t).Dedicated(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(t.Context())) }()
	n := 0
	for _, s := range statements {
		if slices.Contains(except, s.name) || !isStatement(s.sql) {
			continue
		}
		n++
		if err := prepare(t.Context(), c, s.sql); err != nil {
			t.Errorf("%s: %s: %v", s.position, s.name, err)
		}
	}
	if n == 0 {
		t.Errorf("sql.go in %s has no statement", dir)
	}
}

// prepare parses a statement and plans it. Preparing alone would not look at
// privileges; EXPLAIN EXECUTE does, and executes nothing.
func prepare(ctx context.Context, c *pgx.Conn, sql string) error {
	sql, _, err := pgx.NamedArgs{}.RewriteQuery(ctx, c, sql, nil)
	if err != nil {
		return err
	}
	tx, err := c.BeginTx(ctx, pgx.TxOptions{BeginQuery: "BEGIN; SET LOCAL landlord.operator = 'on'"})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	described, err := tx.Prepare(ctx, "checked", sql)
	if err != nil {
		return err
	}
	defer func() { _ = c.Deallocate(context.WithoutCancel(ctx), "checked") }()
	if !slices.Contains(planned, firstWord(sql)) {
		return nil
	}
	arguments := ""
	if n := len(described.ParamOIDs); n > 0 {
		arguments = "(NULL" + strings.Repeat(", NULL", n-1) + ")"
	}
	_, err = c.PgConn().Exec(ctx, "EXPLAIN EXECUTE checked"+arguments).ReadAll()
	return err
}

var (
	planned = []string{"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE"}
	others  = []string{"CALL", "LISTEN", "UNLISTEN", "NOTIFY", "LOCK", "TRUNCATE", "REFRESH", "EXPLAIN"}
)

func isStatement(sql string) bool {
	word := firstWord(sql)
	return slices.Contains(planned, word) || slices.Contains(others, word)
}

// firstWord returns the keyword that sql begins with, comments aside.
func firstWord(sql string) string {
	for {
		sql = strings.TrimLeft(sql, " \t\n(")
		comment, ok := strings.CutPrefix(sql, "--")
		if !ok {
			break
		}
		_, sql, _ = strings.Cut(comment, "\n")
	}
	end := strings.IndexFunc(sql, func(r rune) bool { return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') })
	if end >= 0 {
		sql = sql[:end]
	}
	return sql // keywords are written in upper case, so "set" or "table" in prose is neither
}

// isSQLFile reports whether a file holds the statements of a room, or of one of its
// ideas when there are many.
func isSQLFile(name string) bool {
	base := filepath.Base(name)
	return base == "sql.go" || strings.HasSuffix(base, "_sql.go")
}

// sqlConstant is a string constant of a sql.go.
type sqlConstant struct {
	name, sql string
	position  token.Position
}

// sqlConstants evaluates the string constants of a package's sql.go, which may
// be put together from others of the package. Imports are not resolved.
func sqlConstants(dir string) ([]sqlConstant, error) {
	set := token.NewFileSet()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	found := false
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		found = found || isSQLFile(name)
		files = append(files, parsed)
	}
	if !found {
		return nil, fmt.Errorf("no sql.go in %q", dir)
	}
	config := types.Config{
		IgnoreFuncBodies: true,
		Importer:         noImports{},
		Error:            func(error) {}, // of all that needs an import; constants don't
	}
	info := types.Info{Defs: map[*ast.Ident]types.Object{}}
	_, _ = config.Check("sql", set, files, &info)

	var all []sqlConstant
	for ident, object := range info.Defs {
		c, ok := object.(*types.Const)
		position := set.Position(ident.Pos())
		if !ok || !isSQLFile(position.Filename) {
			continue
		}
		switch c.Val().Kind() {
		case constant.String:
			all = append(all, sqlConstant{name: c.Name(), sql: constant.StringVal(c.Val()), position: position})
		case constant.Unknown:
			return nil, fmt.Errorf("%s: %s is made of another package's constant, which can't be checked here", position, c.Name())
		default: // a number
		}
	}
	slices.SortFunc(all, func(a, b sqlConstant) int { return a.position.Offset - b.position.Offset })
	return all, nil
}

type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not resolved") }
