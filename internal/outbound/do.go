package outbound

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

const (
	drainBytes = 4 << 10                // read of a body beyond what is kept, so that the connection can be used again
	drainWait  = 100 * time.Millisecond // for them
)

// Request is one request to a URL of a tenant's.
type Request struct {
	Method string // "" is GET
	URL    string
	Header http.Header // not Reserved
	Body   []byte

	// Key names whose request it is, an endpoint's id for example: what is in flight is bounded by key. "" is bounded by host only.
	Key string
	// Timeout is the longest that the exchange may take; 0 is the client's. The context's deadline counts too.
	Timeout time.Duration
	// MaxBody is how much of the body is kept; 0 is the client's.
	MaxBody int64
	// Whole asks for the whole body: an answer that is larger than MaxBody, or breaks off, is an error. Otherwise the
	// status is the answer, and of the body as much is kept as came.
	Whole bool
	// Repeatable says that it does no harm when the receiver gets the request twice. It is then sent again when a pooled connection
	// proves dead; a GET always is. Otherwise that is an error.
	Repeatable bool
	// Certificate is shown to a receiver that asks for one (mTLS).
	Certificate *tls.Certificate
}

// Response is an answer, or as much of one as there was.
type Response struct {
	Status    int // 0: there was none
	Proto     string
	Header    http.Header
	Body      []byte // as it came: never decompressed
	Truncated bool   // there was more
	BodyError Class  // why it broke off, when it did before MaxBody

	Remote netip.AddrPort // whom the connection led to: the receiver, or the proxy
	Reused bool           // over a connection from before
	Timing Timing
}

// reserved headers are the connection's, or framing's, and no caller's.
var reserved = []string{
	"Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// Reserved reports whether a header is not a caller's to set: Do refuses it.
func Reserved(header string) bool {
	return slices.Contains(reserved, http.CanonicalHeaderKey(header))
}

// Do sends a request, once, and returns the answer, whatever its status: redirects are not followed. Without an answer its
// error is an *Error, and the Response holds what is known: timing, address, and with Whole the status.
func (c *Client) Do(ctx context.Context, r Request) (Response, error) {
	began := time.Now()
	out, err := c.do(ctx, r)
	c.cfg.Observe(cmp.Or(string(ClassOf(err)), answered), time.Since(began))
	return out, err
}

// answered is the outcome without an error.
const answered = "answered"

func (c *Client) do(ctx context.Context, r Request) (Response, error) {
	t, bad := c.rule.target(r.URL)
	if bad != nil {
		return Response{}, bad.refusal()
	}
	for name := range r.Header {
		if Reserved(name) {
			return Response{}, &Error{Class: RequestInvalid, Detail: fmt.Sprintf("The header %s is not a caller's to set.", name)}
		}
	}
	if c.closed.Load() {
		return Response{}, &Error{Class: Cancelled, Detail: "The exchange was given up.", Err: errors.New("client is closed")}
	}
	give, ok := c.take(r.Key, t.hostPort())
	if !ok {
		return Response{}, &Error{Class: Busy, Detail: "Too many requests to this receiver are in flight."}
	}
	defer give()
	return c.exchange(ctx, t, r)
}

// take takes a slot of the key and one of the host.
func (c *Client) take(key, host string) (give func(), ok bool) {
	if !c.hosts.take(host) {
		return nil, false
	}
	if key == "" {
		return func() { c.hosts.give(host) }, true
	}
	if !c.keys.take(key) {
		c.hosts.give(host)
		return nil, false
	}
	return func() { c.keys.give(key); c.hosts.give(host) }, true
}

func (c *Client) exchange(caller context.Context, t target, r Request) (Response, error) {
	ctx, cancel := context.WithTimeout(caller, cmp.Or(r.Timeout, c.cfg.Timeout))
	defer cancel()
	tr := newTrace()
	req, err := http.NewRequestWithContext(tr.watch(ctx), r.Method, t.url.String(), bytes.NewReader(r.Body))
	if err != nil {
		return Response{}, &Error{Class: RequestInvalid, Detail: "The request has a method or header that can't be sent.", Err: err}
	}
	c.setHeader(req, r)
	var out Response
	res, err := c.via(&t.url, r.Key, r.Certificate).RoundTrip(req) //nolint:bodyclose // by read
	if err == nil {
		out = Response{Status: res.StatusCode, Proto: res.Proto, Header: res.Header}
		err = out.read(cancel, res.Body, cmp.Or(r.MaxBody, c.cfg.MaxBody))
	}
	out.Timing = tr.timing()
	out.Remote, out.Reused = tr.peer()
	switch {
	case err != nil && out.Status == 0:
		return out, classify(caller, tr, err)
	case err != nil:
		failed := classify(caller, tr, err)
		out.BodyError = failed.Class
		if r.Whole || failed.Class == Cancelled {
			return out, failed
		}
	case out.Truncated && r.Whole:
		return out, &Error{Class: ResponseTooLarge, Detail: fmt.Sprintf("The body is larger than %d bytes.", len(out.Body))}
	}
	return out, nil
}

func (c *Client) setHeader(req *http.Request, r Request) {
	req.Header = make(http.Header, len(r.Header)+2)
	maps.Copy(req.Header, r.Header)
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", c.cfg.UserAgent)
	}
	if _, named := req.Header["Idempotency-Key"]; r.Repeatable && !named {
		req.Header["Idempotency-Key"] = nil // for net/http's eyes: it isn't sent
	}
}

// read keeps the beginning of a body, and reads a little further when that lets the connection be used again.
func (out *Response) read(cancel context.CancelFunc, body io.ReadCloser, limit int64) error {
	defer func() { _ = body.Close() }() // nothing is written that could be lost
	b, err := io.ReadAll(io.LimitReader(body, limit+1))
	if int64(len(b)) <= limit {
		out.Body, out.Truncated = b, err != nil
		return err
	}
	out.Body, out.Truncated = b[:limit:limit], true
	timer := time.AfterFunc(drainWait, cancel)
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, body, drainBytes)
	return nil
}
