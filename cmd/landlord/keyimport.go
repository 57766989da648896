package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/landlordhq/landlord/client"
)

// keyImportCmd brings the keys of a file, a thousand at a time. It can be stopped
// and begun again: what was imported before is told apart from what is refused.
type keyImportCmd struct {
	tenantArg

	File       string `arg:"" optional:"" help:"File of keys, one a line; - is standard input." default:"-" placeholder:"FILE"`
	Format     string `help:"Of the file: jsonl (an object of the API a line) or csv (with a line of column names). Without: by the file's name, else jsonl." enum:"jsonl,csv," default:"" placeholder:"FORMAT"`
	OnConflict string `help:"What a name or token that another key has is: skip passes over it, fail makes it a failure." enum:"skip,fail" default:"fail" placeholder:"skip|fail"`
}

// maxImportBytes bounds the lines of one request, below what the server takes.
const maxImportBytes = 4 << 20

// importReport is what became of a file.
type importReport struct {
	Imported int             `json:"imported"`
	There    int             `json:"already_there"` // keys of the tenant with these tokens
	Skipped  int             `json:"skipped"`
	Failures []importFailure `json:"failures"`
}

// importFailure is a line that was not imported.
type importFailure struct {
	Line   int    `json:"line"`
	Name   string `json:"name,omitempty"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// numbered is a key and the line that it stands on.
type numbered struct {
	line int
	key  client.ImportAPIKey
}

// Run implements the command.
func (c *keyImportCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	in, size, err := c.open(g)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // only read from
	counted := &countingReader{r: in}
	read, err := c.reader(counted)
	if err != nil {
		return err
	}
	report := importReport{Failures: []importFailure{}}
	bar := newProgress(g.errOut, size)
	err = c.run(ctx, api, read, counted, &report, bar)
	bar.end()
	return errors.Join(c.tell(g, &report), err, c.verdict(&report))
}

func (c *keyImportCmd) open(g *Globals) (in io.ReadCloser, size int64, err error) {
	if c.File == "-" {
		return io.NopCloser(g.in), 0, nil
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, 0, fmt.Errorf("open the file of keys: %w", err)
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, size, nil
}

// reader reads one key after another; io.EOF is the end. A *lineError is of that
// line alone.
func (c *keyImportCmd) reader(in io.Reader) (func() (numbered, error), error) {
	format := c.Format
	if format == "" && strings.EqualFold(filepath.Ext(c.File), ".csv") {
		format = "csv"
	}
	if format == "csv" {
		return readKeysCSV(in)
	}
	return readKeysJSON(in), nil
}

// run sends the file's keys in order, part after part.
func (c *keyImportCmd) run(
	ctx context.Context, api *client.Client, read func() (numbered, error), in *countingReader, report *importReport, bar *progress,
) error {
	for last := 0; ; {
		part, err := c.part(read, in, report)
		if len(part) > 0 {
			if err := c.send(ctx, api, part, report); err != nil {
				if ctx.Err() != nil {
					return fmt.Errorf("stopped after line %d: run it again to go on", last)
				}
				return fmt.Errorf("stopped after line %d: %w", last, err)
			}
			last = part[len(part)-1].line
			bar.at(in.n, report.Imported+report.There+report.Skipped+len(report.Failures))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// part reads what one request takes.
func (c *keyImportCmd) part(read func() (numbered, error), in *countingReader, report *importReport) (part []numbered, err error) {
	for began := in.n; len(part) < client.MaxImport && in.n-began < maxImportBytes; {
		k, err := read()
		if bad, ok := errors.AsType[*lineError](err); ok {
			report.Failures = append(report.Failures, importFailure{Line: bad.line, Code: "unreadable", Detail: bad.Error()})
			continue
		}
		if err != nil {
			return part, err
		}
		part = append(part, k)
	}
	return part, nil
}

// send imports a part. The client repeats a request that failed on the way under
// one Idempotency-Key. A later run takes a new one: the refusals of an earlier one
// must not be repeated to who has mended their cause.
func (c *keyImportCmd) send(ctx context.Context, api *client.Client, part []numbered, report *importReport) error {
	items := make([]client.ImportAPIKey, len(part))
	for i, k := range part {
		items[i] = k.key
	}
	done, err := api.APIKeys.Import(ctx, c.Tenant, items)
	if err != nil {
		return err
	}
	if len(done.Results) != len(items) {
		return fmt.Errorf("the server answers for %d of %d keys", len(done.Results), len(items))
	}
	for i, r := range done.Results {
		switch {
		case r.Error == nil:
			report.Imported++
		case r.Error.Code == "already_imported":
			report.There++
		case c.OnConflict == "skip" && (r.Error.Code == "name_taken" || r.Error.Code == "token_taken"):
			report.Skipped++
		default:
			report.Failures = append(report.Failures, failureOf(part[i], r.Error))
		}
	}
	return nil
}

func failureOf(k numbered, e *client.BatchError) importFailure {
	f := importFailure{Line: k.line, Name: k.key.Name, Code: e.Code, Detail: e.Detail}
	if len(e.Errors) > 0 {
		f.Code = e.Errors[0].Code
		said := make([]string, len(e.Errors))
		for i, x := range e.Errors {
			if said[i] = x.Message; x.Field != "" {
				said[i] = x.Field + ": " + x.Message
			}
		}
		f.Detail = strings.Join(said, " ")
	}
	return f
}

// tell prints what became of the file: its failures with their lines, and the counts.
func (c *keyImportCmd) tell(g *Globals, r *importReport) error {
	slices.SortFunc(r.Failures, func(a, b importFailure) int { return a.Line - b.Line })
	if done, err := g.json(r); done {
		return err
	}
	for _, f := range r.Failures {
		who := ""
		if f.Name != "" {
			who = f.Name + ": "
		}
		g.done("line %d: %s%s [%s]", f.Line, who, f.Detail, f.Code)
	}
	return g.show(r,
		pair{"imported", r.Imported},
		pair{"there already", r.There},
		pair{"skipped", r.Skipped},
		pair{"failed", len(r.Failures)},
	)
}

func (c *keyImportCmd) verdict(r *importReport) error {
	if n := len(r.Failures); n > 0 {
		return fmt.Errorf("%s not imported", plural(n, "line"))
	}
	return nil
}
