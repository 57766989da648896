package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/secret"
	"github.com/landlordhq/landlord/internal/webhook"
)

type webhookVerifyCmd struct {
	Request string `arg:"" optional:"" help:"File with the request as it came: its headers, an empty line, its body. - is standard input."`

	Secret     []string `sep:"none" help:"A whsec_ secret or a whpk_ public key that may have signed it; repeatable." env:"LANDLORD_WEBHOOK_SECRET" placeholder:"whsec_…"`
	SecretFile string   `help:"File that holds it, or several, one a line." placeholder:"FILE"`

	ID        string `name:"id" help:"Its header webhook-id." placeholder:"ID"`
	Timestamp string `help:"Its header webhook-timestamp." placeholder:"SECONDS"`
	Signature string `help:"Its header webhook-signature." placeholder:"SIGNATURES"`
	Body      string `help:"File with its body, to the byte; - is standard input." placeholder:"FILE"`

	Tolerance time.Duration `help:"How old it may be, or how far ahead." default:"5m" placeholder:"DURATION"`
	At        instant       `help:"As if it were this time, for a request of old." placeholder:"TIME"`
}

// errNotValid is the command's failure; the reasons are its output.
var errNotValid = errors.New("the request is not valid")

// verified is what the command prints.
type verified struct {
	Valid  bool            `json:"valid"`
	Checks []verifiedCheck `json:"checks"`
}

type verifiedCheck struct {
	Part   string `json:"part"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Run implements the command. It asks no server.
func (c *webhookVerifyCmd) Run(g *Globals) error {
	p := webhook.VerifyParams{Now: time.Time(c.At), Tolerance: c.Tolerance, Header: http.Header{}}
	if p.Now.IsZero() {
		p.Now = time.Now()
	}
	if c.Tolerance <= 0 {
		return errors.New("--tolerance: must be positive")
	}
	var err error
	if p.Keys, err = c.keys(g); err != nil {
		return err
	}
	if err := c.request(g, &p); err != nil {
		return err
	}
	out := verified{Valid: true}
	for _, f := range webhook.Verify(p) {
		out.Valid = out.Valid && f.OK
		out.Checks = append(out.Checks, verifiedCheck(f))
	}
	pairs := make([]pair, len(out.Checks))
	for i, one := range out.Checks {
		verdict := "ok     "
		if !one.OK {
			verdict = "wrong  "
		}
		pairs[i] = pair{one.Part, verdict + one.Detail}
	}
	if err := g.show(out, pairs...); err != nil {
		return err
	}
	if !out.Valid {
		return errNotValid
	}
	g.done("The request is valid.")
	return nil
}

func (c *webhookVerifyCmd) keys(g *Globals) (keys []webhook.VerifyingKey, err error) {
	texts := c.Secret
	if c.SecretFile != "" {
		b, err := readInput(g, c.SecretFile)
		if err != nil {
			return nil, fmt.Errorf("read the secret: %w", err)
		}
		texts = append(texts, strings.Fields(string(b))...)
	}
	if len(texts) == 0 {
		return nil, errors.New("verify with what? give --secret or --secret-file")
	}
	for _, text := range texts {
		k, err := webhook.ParseVerifyingKey(secret.NewText(text))
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// request reads the request: from a file, from flags, or what flags change of a
// file.
func (c *webhookVerifyCmd) request(g *Globals, p *webhook.VerifyParams) error {
	if c.Request == "" && c.Body == "" {
		return errors.New("verify what? give a file with the request, or its --id, --timestamp, --signature and --body")
	}
	if c.Request != "" {
		raw, err := readInput(g, c.Request)
		if err != nil {
			return err
		}
		if p.Header, p.Body, err = capturedRequest(raw); err != nil {
			return fmt.Errorf("%s: %w", c.Request, err)
		}
	}
	if c.Body != "" {
		var err error
		if p.Body, err = readInput(g, c.Body); err != nil {
			return err
		}
	}
	for name, value := range map[string]string{webhook.HeaderID: c.ID, webhook.HeaderTimestamp: c.Timestamp, webhook.HeaderSignature: c.Signature} {
		if value != "" {
			p.Header.Set(name, value)
		}
	}
	return nil
}

// capturedRequest reads a request as tools write it down: the request line may be
// there or not, lines may end in LF alone, and an editor may have put a line break
// behind the body.
func capturedRequest(raw []byte) (http.Header, []byte, error) {
	r := bufio.NewReader(bytes.NewReader(raw))
	if first, _, _ := bytes.Cut(raw, []byte("\n")); !bytes.Contains(first, []byte(":")) || bytes.Contains(first, []byte(" HTTP/")) {
		if _, err := r.ReadString('\n'); err != nil {
			return nil, nil, errors.New("this is no request: its headers, an empty line and its body are wanted")
		}
	}
	lines, err := textproto.NewReader(r).ReadMIMEHeader()
	if err != nil {
		return nil, nil, fmt.Errorf("this is no request: its headers, an empty line and its body are wanted: %w", err)
	}
	header := http.Header(lines)
	body, err := io.ReadAll(r)
	if err != nil {
		return nil, nil, err
	}
	if strings.EqualFold(header.Get("Transfer-Encoding"), "chunked") {
		if joined, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(body))); err == nil {
			return header, joined, nil
		} // else the tool has joined them
	}
	if length, err := strconv.Atoi(header.Get("Content-Length")); err == nil && length >= 0 {
		if length > len(body) {
			return nil, nil, fmt.Errorf("its body is cut off: Content-Length says %d bytes, there are %d", length, len(body))
		}
		body = body[:length]
	}
	return header, body, nil
}
