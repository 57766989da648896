package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/secret"
	"github.com/landlordhq/landlord/internal/webhook"
)

// signingSecretFlags name the secret that requests are signed with.
type signingSecretFlags struct {
	Secret     string `help:"The signing secret." env:"LANDLORD_WEBHOOK_SECRET" placeholder:"whsec_…"`
	SecretFile string `help:"File that holds it, in its place; - is standard input." placeholder:"FILE"`
}

// text returns the secret; it is empty when none was given.
func (f signingSecretFlags) text(g *Globals) (secret.Text, error) {
	if f.SecretFile == "" {
		return secret.NewText(strings.TrimSpace(f.Secret)), nil
	}
	b, err := readInput(g, f.SecretFile)
	if err != nil {
		return secret.Text{}, fmt.Errorf("read the secret: %w", err)
	}
	return secret.NewText(strings.TrimSpace(string(b))), nil
}

type webhookListenCmd struct {
	tenantArg
	signingSecretFlags

	ForwardTo string        `help:"Where to send to: an address of yours, on this machine or near it." name:"forward-to" required:"" placeholder:"URL"`
	Events    []string      `help:"Event types to send: exact, or a prefix such as render.*, or *; repeatable." short:"e" default:"*" placeholder:"PATTERN"`
	Since     instant       `help:"Begin with what was written since: RFC 3339, a date, or an age such as 1h. Without it, from now on." placeholder:"TIME"`
	Cursor    string        `help:"Go on where an earlier one ended." placeholder:"CURSOR"`
	Timeout   time.Duration `help:"How long a request may take." default:"15s" placeholder:"DURATION"`
}

// Run implements the command: an endpoint without a public address. What its
// receiver says is shown and not acted on: nothing is tried again.
func (c *webhookListenCmd) Run(ctx context.Context, g *Globals) error {
	f, err := c.forwarder(g)
	if err != nil {
		return err
	}
	defer f.http.CloseIdleConnections()
	api, err := g.client()
	if err != nil {
		return err
	}
	g.done("Sending what happens to %s to %s; ctrl-c ends it.", c.Tenant, c.ForwardTo)
	filter := client.EventFilter{Tenant: c.Tenant, Since: time.Time(c.Since), ListOptions: client.ListOptions{Cursor: c.Cursor}}
	if len(c.Events) == 1 && c.Events[0] != webhook.Any {
		filter.Type = c.Events[0] // the server leaves the others out
	}
	cursor, err := follow(ctx, g, api, filter, func(e client.Event) error {
		if !webhook.Match(c.Events, e.Type) {
			return nil
		}
		return f.forward(ctx, g, e)
	})
	if ctx.Err() != nil {
		err = nil // stopped, between two events or during one
	}
	g.done("Sent %s, %d failed.", plural(f.sent, "event"), f.failed)
	if cursor != "" {
		g.done("To go on: --cursor %s", cursor)
	}
	return err
}

func (c *webhookListenCmd) forwarder(g *Globals) (*forwarder, error) {
	u, err := url.Parse(c.ForwardTo)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("--forward-to: %q is no URL such as http://localhost:3000/webhooks", c.ForwardTo)
	}
	for _, p := range c.Events {
		if !webhook.ValidPattern(p) {
			return nil, fmt.Errorf("--events: %q is no pattern: give a type (render.completed), a prefix (render.*) or *", p)
		}
	}
	if c.Timeout <= 0 {
		return nil, errors.New("--timeout: must be positive")
	}
	text, err := c.text(g)
	if err != nil {
		return nil, err
	}
	f := &forwarder{url: c.ForwardTo, http: &http.Client{
		Timeout:       c.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableCompression: true}, // and no proxy: it is near
	}}
	if text.Reveal() == "" {
		f.secret = webhook.NewSecret(webhook.V1, time.Now())
		g.done("Requests are signed with the secret %s", f.secret.Value.Reveal())
		return f, nil
	}
	f.secret, err = webhook.ParseSecret(text, time.Now())
	return f, err
}

// forwarder sends events to a developer's own receiver, one after the other.
type forwarder struct {
	url          string
	secret       webhook.Secret
	http         *http.Client
	sent, failed int
}

// forwarded is a line of the output.
type forwarded struct {
	At         time.Time `json:"at"`
	EventID    string    `json:"event_id"`
	Type       string    `json:"type"`
	Status     int       `json:"status,omitempty"` // 0: it was not answered
	DurationMS int64     `json:"duration_ms"`
	Error      string    `json:"error,omitempty"` // "": the receiver took it
}

// forward sends an event and prints what came of it. Only a stop, or output that
// can't be written, is an error.
func (f *forwarder) forward(ctx context.Context, g *Globals, e client.Event) error {
	body, err := webhook.Body(e.Type, e.OccurredAt, e.Payload)
	if err != nil {
		return err
	}
	line := forwarded{At: time.Now().UTC(), EventID: e.ID, Type: e.Type}
	header, err := webhook.SignedHeaders(f.secret, e.ID, line.At, body)
	if err != nil {
		return err
	}
	line.Status, err = f.post(ctx, header, body)
	line.DurationMS = time.Since(line.At).Milliseconds()
	if ctx.Err() != nil {
		return ctx.Err() // which is no failure of the receiver's; the event comes again by the cursor
	}
	f.sent++
	switch {
	case err != nil:
		line.Error = whyUnanswered(err)
	case line.Status >= 300 && line.Status < 400:
		line.Error = "a redirect, and those are not followed"
	case line.Status < 200 || line.Status >= 300:
		line.Error = "not taken"
	}
	if line.Error != "" {
		f.failed++
	}
	return line.print(g)
}

// post returns the status that was answered with.
func (f *forwarder) post(ctx context.Context, header http.Header, body []byte) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header = header
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "landlord-cli/"+release())
	answer, err := f.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection serves the next one
	return answer.StatusCode, err
}

// whyUnanswered says why in the words of the innermost error that says it: the
// method and the URL around it are known.
func whyUnanswered(err error) string {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		if wrapped.Timeout() {
			return "no answer in time"
		}
		err = wrapped.Err
	}
	return err.Error()
}

func (l forwarded) print(g *Globals) error {
	if g.Output == "json" {
		line := json.NewEncoder(g.out)
		line.SetEscapeHTML(false)
		return line.Encode(l)
	}
	answer := "-"
	if l.Status != 0 {
		answer = strings.TrimSpace(fmt.Sprintf("%d %s", l.Status, http.StatusText(l.Status)))
	}
	if l.Error != "" {
		answer += ": " + l.Error
	}
	_, err := fmt.Fprintf(g.out, "%s  %s  %s  %d ms  %s\n", l.At.Format(time.RFC3339), l.Type, l.EventID, l.DurationMS, answer)
	return err
}
