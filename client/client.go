// Package client is the Go client of landlord's REST API.
//
//	c, err := client.New("https://landlord.example.com", os.Getenv("LANDLORD_TOKEN"))
//	t, err := c.Tenants.Create(ctx, client.CreateTenant{Name: "Acme", Slug: "acme", Plan: "starter"})
//
// Ids are TypeID text ("tenant_01h…"); wherever a tenant is asked for, an id, a
// bare UUID or "slug:NAME" will do. Times are UTC. Errors of the server are
// *client.Error with a stable Code.
//
// A call that fails on the way is repeated: reads and PUT and DELETE as they are,
// creations under an Idempotency-Key that the client makes, so that nothing is
// made twice. The package imports nothing of landlord's own.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client talks to one server with one credential. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	token     string
	http      *http.Client
	userAgent string
	retries   int
	strict    bool

	services
}

// Option changes a client.
type Option func(*Client)

// WithHTTPClient sets the HTTP client, for proxies, mTLS and timeouts.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithUserAgent sets the User-Agent that the audit log records.
func WithUserAgent(ua string) Option { return func(c *Client) { c.userAgent = ua } }

// WithRetries sets how often a call that failed on the way is repeated; the
// default is 2.
func WithRetries(n int) Option { return func(c *Client) { c.retries = n } }

// WithStrictDecoding makes fields that the client does not know an error. It is
// for tests: a server newer than the client adds fields.
func WithStrictDecoding() Option { return func(c *Client) { c.strict = true } }

// New returns a client of the server at baseURL. token may be "" for the pages
// that need no credential.
func New(baseURL, token string, opts ...Option) (*Client, error) {
	u, err := url.Parse(strings.TrimRight(baseURL, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("client: %q is no http(s) URL of a server", baseURL)
	}
	c := &Client{
		base: u, token: token, userAgent: "landlord-go", retries: 2,
		http: &http.Client{Timeout: 30 * time.Second},
	}
	for _, o := range opts {
		o(c)
	}
	c.bind()
	return c, nil
}

// Error is an answer of the server that is no success: an RFC 9457 problem.
type Error struct {
	Status    int          `json:"status"` // HTTP status
	Code      string       `json:"code"`   // stable, such as "slug_taken"
	Title     string       `json:"title"`
	Detail    string       `json:"detail"` // for people
	Type      string       `json:"type"`
	Instance  string       `json:"instance"`
	Errors    []FieldError `json:"errors"`
	Violated  []string     `json:"violated-policies"` // with 429: the rate limits that are used up
	RequestID string       `json:"request_id"`        // for support

	// RetryAfter is how long the server asks to wait; 0 when it does not say.
	RetryAfter time.Duration `json:"-"`
}

// FieldError is a complaint about one field of the request.
type FieldError struct {
	Field   string `json:"field"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	if len(e.Errors) == 1 && e.Errors[0].Message == e.Detail {
		b.WriteString(e.Errors[0].Field + ": ")
	}
	b.WriteString(e.Detail)
	if e.Detail == "" {
		b.WriteString(e.Title)
	}
	if len(e.Errors) > 1 || len(e.Errors) == 1 && !strings.Contains(e.Detail, e.Errors[0].Message) {
		for _, f := range e.Errors {
			fmt.Fprintf(&b, "\n  %s: %s (%s)", f.Field, f.Message, f.Code)
		}
	}
	fmt.Fprintf(&b, " [%s, HTTP %d", e.Code, e.Status)
	if e.RequestID != "" {
		b.WriteString(", request " + e.RequestID)
	}
	b.WriteString("]")
	return b.String()
}

// Code returns the stable code of an error of the server, "" for any other error.
func Code(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// Status returns the HTTP status of an error of the server, 0 for any other error.
func Status(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	return 0
}

// IsNotFound reports whether the thing is absent, or another tenant's.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// Page is one page of a list.
type Page[T any] struct {
	Data       []T    `json:"data"`
	NextCursor string `json:"next_cursor,omitempty"` // "" on the last page
}

// ListOptions are common to all lists.
type ListOptions struct {
	Limit  int    // rows a page, 1 to 200; 0 is 50
	Cursor string // NextCursor of the page before
}

func (o ListOptions) query() url.Values {
	q := url.Values{}
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if o.Cursor != "" {
		q.Set("cursor", o.Cursor)
	}
	return q
}

// all walks the pages of a list.
func all[T any](ctx context.Context, first string, get func(context.Context, string) (*Page[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for cursor := first; ; {
			p, err := get(ctx, cursor)
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			for _, v := range p.Data {
				if !yield(v, nil) {
					return
				}
			}
			if cursor = p.NextCursor; cursor == "" {
				return
			}
		}
	}
}

// Patch is a field of an update: leave it out, clear it with Null, or Set it.
// It goes with `json:",omitzero"`.
type Patch[T any] struct {
	set   bool
	value *T
}

// Set returns a field with a value.
func Set[T any](v T) Patch[T] { return Patch[T]{set: true, value: &v} }

// Null returns a field that is to be cleared.
func Null[T any]() Patch[T] { return Patch[T]{set: true} }

// IsZero reports whether the field is left out.
func (p Patch[T]) IsZero() bool { return !p.set }

// MarshalJSON implements json.Marshaler.
func (p Patch[T]) MarshalJSON() ([]byte, error) { return json.Marshal(p.value) }

// request is one call.
type request struct {
	method  string
	path    string // escaped, below the base
	query   url.Values
	body    any // encoded as JSON unless nil
	out     any // decoded from JSON unless nil
	ifMatch string
	creates bool    // gets an Idempotency-Key
	repeats bool    // a POST that is repeatable as it is
	etag    *string // receives the ETag
}

// path joins segments, escaping each.
func path(segments ...string) string {
	var b strings.Builder
	b.WriteString("/v1")
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

func (c *Client) do(ctx context.Context, r request) error {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return fmt.Errorf("client: encode request: %w", err)
		}
	}
	key := ""
	if r.creates {
		key = "landlord-go-" + rand.Text()
	}
	repeatable := r.method != http.MethodPost && r.method != http.MethodPatch || r.creates || r.repeats
	for try := 0; ; try++ {
		wait, err := c.once(ctx, r, body, key)
		if err == nil || !repeatable || wait < 0 || try >= c.retries || ctx.Err() != nil {
			return err
		}
		if wait == 0 {
			wait = 100 * time.Millisecond << try
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(min(wait, 5*time.Second)):
		}
	}
}

// once sends the request; wait < 0 says that repeating it is pointless.
func (c *Client) once(ctx context.Context, r request, body []byte, key string) (wait time.Duration, err error) {
	u := c.base.String() + r.path
	if len(r.query) > 0 {
		u += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u, bytes.NewReader(body))
	if err != nil {
		return -1, fmt.Errorf("client: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("User-Agent", c.userAgent)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if r.ifMatch != "" {
		req.Header.Set("If-Match", r.ifMatch)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("client: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return 0, fmt.Errorf("client: read answer: %w", err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return c.failed(resp, b)
	}
	if r.etag != nil {
		*r.etag = resp.Header.Get("ETag")
	}
	if r.out == nil || len(b) == 0 {
		return -1, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if c.strict {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(r.out); err != nil {
		return -1, fmt.Errorf("client: decode answer of %s %s: %w", r.method, r.path, err)
	}
	return -1, nil
}

func (c *Client) failed(resp *http.Response, body []byte) (time.Duration, error) {
	e := &Error{}
	if json.Unmarshal(body, e) != nil || e.Code == "" {
		// Not landlord's: a proxy in between.
		e = &Error{Title: http.StatusText(resp.StatusCode), Code: "unexpected_answer", Detail: "The answer is no problem document: is this the address of a landlord server?"}
	}
	e.Status = resp.StatusCode
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n >= 0 {
		e.RetryAfter = time.Duration(n) * time.Second
	}
	switch e.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return e.RetryAfter, e
	default:
		if e.Code == "idempotency_in_progress" {
			return e.RetryAfter, e
		}
		return -1, e
	}
}

// result gives the answer, or nothing beside an error.
func result[T any](v *T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

// set adds a query parameter that has a value.
func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

func setBool(q url.Values, name string, value *bool) {
	if value != nil {
		q.Set(name, strconv.FormatBool(*value))
	}
}
