package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/landlordhq/landlord/client"
)

// Globals are the flags of every command that talks to a server.
type Globals struct {
	Server    string `help:"Address of the server." env:"LANDLORD_SERVER" default:"http://127.0.0.1:8080" placeholder:"URL"`
	Token     string `help:"Credential: an operator's or service's token, or an API key with landlord: scopes." env:"LANDLORD_TOKEN" placeholder:"TOKEN"`
	TokenFile string `help:"File that holds the credential." env:"LANDLORD_TOKEN_FILE" type:"path" placeholder:"FILE"`
	Output    string `help:"How to print: ${enum}." short:"o" enum:"table, json" default:"table"`

	in     io.Reader
	out    io.Writer
	errOut io.Writer
	parser *kong.Kong
}

// client returns the API client of the command's flags.
func (g *Globals) client() (*client.Client, error) {
	token := g.Token
	if token == "" && g.TokenFile != "" {
		b, err := os.ReadFile(g.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("read the token file: %w", err)
		}
		token = strings.TrimSpace(string(b))
	}
	if token == "" {
		return nil, errors.New("no credential: set LANDLORD_TOKEN or LANDLORD_TOKEN_FILE, or give --token")
	}
	return client.New(g.Server, token, client.WithUserAgent("landlord-cli/"+release()))
}

// json prints v as JSON and reports true when --output asks for that.
func (g *Globals) json(v any) (bool, error) {
	if g.Output != "json" {
		return false, nil
	}
	e := json.NewEncoder(g.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return true, e.Encode(v)
}

// pair is a line of a thing shown by itself.
type pair struct {
	name  string
	value any
}

// show prints one thing: as JSON, or as name and value, leaving out what is not set.
func (g *Globals) show(v any, pairs ...pair) error {
	if done, err := g.json(v); done {
		return err
	}
	w := tabwriter.NewWriter(g.out, 0, 0, 2, ' ', 0)
	for _, p := range pairs {
		if s := text(p.value); s != "" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", p.name, s)
		}
	}
	return w.Flush()
}

// table prints a list: as JSON, or as columns. cells gives the row of an element.
func table[T any](g *Globals, p *client.Page[T], headers []string, cells func(T) []any) error {
	if done, err := g.json(p); done {
		return err
	}
	w := tabwriter.NewWriter(g.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, strings.Join(headers, "\t"))
	for _, v := range p.Data {
		row := make([]string, 0, len(headers))
		for _, c := range cells(v) {
			s := text(c)
			if s == "" {
				s = "-"
			}
			row = append(row, s)
		}
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if p.NextCursor != "" {
		_, _ = fmt.Fprintf(g.errOut, "More: --cursor %s\n", p.NextCursor)
	}
	return nil
}

// done says what a command did, on standard error so that output stays parseable.
func (g *Globals) done(format string, args ...any) {
	_, _ = fmt.Fprintf(g.errOut, format+"\n", args...)
}

// confirm asks before something is lost. yes skips the question.
func (g *Globals) confirm(yes bool, format string, args ...any) error {
	if yes {
		return nil
	}
	_, _ = fmt.Fprintf(g.errOut, format+" [y/N] ", args...)
	line, _ := bufio.NewReader(g.in).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	default:
		return errors.New("not confirmed; nothing was changed (--yes skips the question)")
	}
}

// text is how a value looks in a table.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case *string:
		if v == nil {
			return ""
		}
		return *v
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return v.UTC().Format(time.RFC3339)
	case *time.Time:
		if v == nil {
			return ""
		}
		return text(*v)
	case []string:
		return strings.Join(v, ", ")
	case map[string]any:
		if len(v) == 0 {
			return ""
		}
		b, _ := json.Marshal(v)
		return string(b)
	case fmt.Stringer:
		return v.String()
	default:
		return fmt.Sprint(v)
	}
}

// listFlags are common to all lists.
type listFlags struct {
	Limit  int    `help:"Rows at most, 1 to 200." default:"50" placeholder:"N"`
	Cursor string `help:"Where to go on: what the page before printed." placeholder:"CURSOR"`
}

func (f listFlags) options() client.ListOptions {
	return client.ListOptions{Limit: f.Limit, Cursor: f.Cursor}
}

// jsonFlag is a flag that takes a JSON object.
type jsonFlag map[string]any

// UnmarshalText implements encoding.TextUnmarshaler for kong.
func (j *jsonFlag) UnmarshalText(b []byte) error {
	m := map[string]any{}
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("not a JSON object: %w", err)
	}
	*j = m
	return nil
}

// metadata turns --metadata key=value pairs into the API's metadata.
func metadata(kv map[string]string) map[string]any {
	if kv == nil {
		return nil
	}
	m := make(map[string]any, len(kv))
	for k, v := range kv {
		m[k] = v
	}
	return m
}
