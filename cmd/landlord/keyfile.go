package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/landlordhq/landlord/client"
)

// lineError is what is wrong with one line of a file; the others can be read.
type lineError struct {
	line int
	err  error
}

// Error implements error.
func (e *lineError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *lineError) Unwrap() error { return e.err }

// countingReader knows how far it was read.
type countingReader struct {
	r io.Reader
	n int64
}

// Read implements io.Reader.
func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// maxKeyLine is the longest line of a file of keys: a key with all that it may hold.
const maxKeyLine = 64 << 10

// readKeysJSON reads an object of the API a line. Empty lines count, but are no keys.
func readKeysJSON(in io.Reader) func() (numbered, error) {
	lines, line := bufio.NewReaderSize(in, maxKeyLine), 0
	return func() (numbered, error) {
		for {
			raw, err := lines.ReadSlice('\n')
			if errors.Is(err, bufio.ErrBufferFull) {
				return numbered{}, fmt.Errorf("line %d is longer than %d bytes: is this a file of one JSON object a line?", line+1, maxKeyLine)
			}
			if err != nil && (!errors.Is(err, io.EOF) || len(raw) == 0) {
				return numbered{}, err
			}
			line++
			if line == 1 {
				raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
			}
			if raw = bytes.TrimSpace(raw); len(raw) == 0 {
				continue
			}
			d := json.NewDecoder(bytes.NewReader(raw))
			d.DisallowUnknownFields() // a misspelled field would be lost in silence
			k := numbered{line: line}
			if err := d.Decode(&k.key); err != nil {
				return numbered{}, &lineError{line, err}
			}
			if d.More() {
				return numbered{}, &lineError{line, errors.New("more than one object on the line")}
			}
			return k, nil
		}
	}
}

// keyColumns set the fields of a key from the columns of a CSV file. A cell that is
// empty sets nothing.
var keyColumns = map[string]func(k *client.ImportAPIKey, cell string) error{
	"name":           func(k *client.ImportAPIKey, s string) error { k.Name = s; return nil },
	"description":    func(k *client.ImportAPIKey, s string) error { k.Description = s; return nil },
	"environment":    func(k *client.ImportAPIKey, s string) error { k.Environment = s; return nil },
	"product":        func(k *client.ImportAPIKey, s string) error { k.Product = s; return nil },
	"project_id":     func(k *client.ImportAPIKey, s string) error { k.ProjectID = s; return nil },
	"scopes":         func(k *client.ImportAPIKey, s string) error { k.Scopes = strings.Fields(s); return nil },
	"allowed_ips":    func(k *client.ImportAPIKey, s string) error { k.AllowedIPs = strings.Fields(s); return nil },
	"rate_limit_rpm": func(k *client.ImportAPIKey, s string) (err error) { k.RateLimitRPM, err = strconv.Atoi(s); return err },
	"expires_at":     func(k *client.ImportAPIKey, s string) error { return cellTime(&k.ExpiresAt, s) },
	"metadata":       func(k *client.ImportAPIKey, s string) error { return json.Unmarshal([]byte(s), &k.Metadata) },
	"token":          func(k *client.ImportAPIKey, s string) error { k.Token = s; return nil },
	"prefix":         func(k *client.ImportAPIKey, s string) error { k.Prefix = s; return nil },
	"last4":          func(k *client.ImportAPIKey, s string) error { k.Last4 = s; return nil },
	"created_at":     func(k *client.ImportAPIKey, s string) error { return cellTime(&k.CreatedAt, s) },
	"last_used_at":   func(k *client.ImportAPIKey, s string) error { return cellTime(&k.LastUsedAt, s) },
	"usage_count": func(k *client.ImportAPIKey, s string) (err error) {
		k.UsageCount, err = strconv.ParseInt(s, 10, 64)
		return err
	},
	"hash":      func(k *client.ImportAPIKey, s string) error { cellHash(k).Value = s; return nil },
	"algorithm": func(k *client.ImportAPIKey, s string) error { cellHash(k).Algorithm = s; return nil },
	"hash_key":  func(k *client.ImportAPIKey, s string) error { cellHash(k).Key = s; return nil },
}

func cellTime(to **time.Time, s string) error {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return errors.New("not an RFC 3339 time, such as 2026-11-23T12:00:00Z")
	}
	*to = &t
	return nil
}

func cellHash(k *client.ImportAPIKey) *client.ForeignHash {
	if k.Hash == nil {
		k.Hash = &client.ForeignHash{}
	}
	return k.Hash
}

// readKeysCSV reads a key a record, after one of column names. It fails on columns
// that it does not know: their content would be lost in silence.
func readKeysCSV(in io.Reader) (func() (numbered, error), error) {
	r := csv.NewReader(in)
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("read the column names: %w", err)
	}
	columns := slices.Clone(header)
	columns[0] = strings.TrimPrefix(columns[0], "\ufeff")
	known := map[string]bool{}
	for i, name := range columns {
		columns[i] = strings.ToLower(strings.TrimSpace(name))
		switch {
		case keyColumns[columns[i]] == nil:
			return nil, fmt.Errorf("there is no column %q: the columns are %s", name, strings.Join(columnNames(), ", "))
		case known[columns[i]]:
			return nil, fmt.Errorf("the column %s is there twice", columns[i])
		}
		known[columns[i]] = true
	}
	if !known["name"] {
		return nil, errors.New("a column name is needed: is the first line of the file one of column names?")
	}
	return func() (numbered, error) {
		cells, err := r.Read()
		if parse, ok := errors.AsType[*csv.ParseError](err); ok {
			return numbered{}, &lineError{parse.StartLine, parse.Err}
		}
		if err != nil {
			return numbered{}, err
		}
		line, _ := r.FieldPos(0)
		k := numbered{line: line}
		for i, cell := range cells {
			if cell == "" {
				continue
			}
			if err := keyColumns[columns[i]](&k.key, cell); err != nil {
				return numbered{}, &lineError{line, fmt.Errorf("%s: %w", columns[i], err)}
			}
		}
		return k, nil
	}, nil
}

func columnNames() []string {
	var names []string
	for name := range keyColumns {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
