package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"runtime/debug"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/idempotency"
	"github.com/landlordhq/landlord/internal/ratelimit"
	"github.com/landlordhq/landlord/internal/telemetry"
)

const (
	// requestTimeout is how long an operation may work. Past it the caller gets
	// 503: a caller that waits longer has given up, or is one of too many.
	requestTimeout = 10 * time.Second
	// statusGone is what the log and the metrics say of a caller that did not
	// wait for the answer; nginx has the same.
	statusGone = 499
)

// call is what the edge knows about a request; handlers leave their error in it
// for the one log line.
type call struct {
	id      string
	url     *url.URL
	pattern string
	quiet   bool // answered from memory, as a matter of course
	from    access.Origin
	who     access.Principal // set once, by authenticate
	limits  ratelimit.Report // of an API key's rate limits, likewise
	err     error

	header [1]string // the id, as the answer's header has it
	answer recorder
	ctx    deadline
}

// path is what the problem calls instance.
func (c *call) path() string {
	if c.url == nil {
		return ""
	}
	return c.url.EscapedPath()
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	if c == nil {
		c = &call{}
	}
	return c
}

// answer turns a handler's error into the problem that the caller sees and
// leaves the error for the log.
func (a *API) answer(ctx context.Context, err error) *Problem {
	c := callOf(ctx)
	c.err = err
	q := *problemOf(err)
	if q.Status >= http.StatusInternalServerError && errors.Is(ctx.Err(), context.Canceled) {
		// What went wrong is that nobody wants it any more.
		q = *problem(statusGone, "client_closed_request", "The client closed the connection before the answer.")
	}
	if q.Status == http.StatusTooManyRequests {
		q.Violated, _ = ratelimit.Violated(c.limits.Limits)
	}
	q.Instance, q.RequestID = c.path(), c.id
	return &q
}

func (p *Problem) fill(r *http.Request) {
	c := callOf(r.Context())
	p.Instance, p.RequestID = c.path(), c.id
	if c.err == nil {
		c.err = p
	}
}

func (p *Problem) filled(r *http.Request) *Problem {
	q := *p
	q.fill(r)
	return &q
}

// middleware wraps the operations in what all requests have in common, outermost
// first: request id and log, recover, route, text, credential, Idempotency-Key.
func (a *API) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		c := &call{id: telemetry.AcceptRequestID(r.Header.Get(telemetry.RequestIDHeader)), url: r.URL}
		c.ctx = deadline{Context: r.Context(), call: c, until: began.Add(requestTimeout)}
		defer c.ctx.stop()
		rec := &c.answer
		rec.ResponseWriter = w
		h := w.Header()
		c.header[0] = c.id
		h[requestIDHeader] = c.header[:]
		h["X-Content-Type-Options"], h["Cache-Control"] = noSniff, noStore
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler { //nolint:errorlint // the sentinel is panicked with as it is
					panic(v)
				}
				a.log.ErrorContext(&c.ctx, "panic", "panic", v, "stack", string(debug.Stack()))
				if rec.status == 0 {
					writeProblem(rec, r.WithContext(&c.ctx), problem(http.StatusInternalServerError, "internal", "Something went wrong on our side."))
				}
			}
			r.Pattern = c.pattern // metrics, outside, read it
			a.logCall(r, c, rec.status, began)
		}()
		if !a.servePlain(rec, r, c) {
			a.serve(rec, r.WithContext(&c.ctx), c, next)
		}
	})
}

func (a *API) serve(w http.ResponseWriter, r *http.Request, c *call, next http.Handler) {
	if !IsClean(r.URL.Path) {
		writeProblem(w, r, problem(http.StatusNotFound, "route_not_found", "There is no such path: it has an empty segment, or dots for one."))
		return
	}
	pattern, known := a.fixed[fixed{r.Method, r.URL.Path}]
	if !known {
		_, pattern = a.mux.Handler(r)
	}
	o, known := a.ops[pattern]
	c.pattern = pattern
	if !known {
		if pattern != "" { // without a credential: a page, or who signs what he sends
			next.ServeHTTP(w, r)
			return
		}
		a.noRoute(w, r, next)
		return
	}
	c.ctx.until = c.ctx.until.Add(o.Wait) // nobody has asked for the end yet
	if !storable(r.URL.Path) || !storable(unescaped(r.URL.RawQuery)) {
		writeProblem(w, r, problem(http.StatusBadRequest, "invalid_text", "The URL holds a NUL character or is not valid UTF-8."))
		return
	}
	if c.who.ID == "" { // else servePlain did
		check := a.s.Authenticate
		if o.Holder {
			check = a.s.Holder
		}
		if err := a.admit(w, r, c, check); err != nil {
			writeProblem(w, r, a.answer(r.Context(), err))
			return
		}
	}
	body, p := readBody(w, r, o.MaxBody)
	if p != nil {
		writeProblem(w, r, p)
		return
	}
	if key := r.Header.Get("Idempotency-Key"); o.Creates && key != "" && a.s.Idempotency != nil {
		a.once(w, r, body, c.who, key, next)
		return
	}
	next.ServeHTTP(w, r)
}

// maxPlain is the largest body that is looked at for the plain form.
const maxPlain = 2 << 10

var plainBodies = sync.Pool{New: func() any { return new([maxPlain]byte) }}

// servePlain answers a request of the plain form, of an operation that has one,
// ahead of what the others need: a request that carries its context, the checks of
// a URL that may say anything, the framework. When it can't, it leaves the request
// as if nobody had read its body, and the caller known.
func (a *API) servePlain(w http.ResponseWriter, r *http.Request, c *call) bool {
	pattern, known := a.fixed[fixed{r.Method, r.URL.Path}]
	o := a.ops[pattern]
	if !known || o.Plain == nil || r.URL.RawQuery != "" || r.ContentLength <= 0 || r.ContentLength > maxPlain {
		return false
	}
	c.pattern = pattern
	if err := a.admit(w, r, c, a.s.Authenticate); err != nil {
		writeProblem(w, r.WithContext(&c.ctx), a.answer(&c.ctx, err))
		return true
	}
	buf := plainBodies.Get().(*[maxPlain]byte) //nolint:forcetypeassert // the pool holds nothing else
	n, err := io.ReadFull(r.Body, buf[:r.ContentLength])
	body := string(buf[:n])
	clear(buf[:n]) // the pool must not keep keys
	plainBodies.Put(buf)
	if err == nil && o.Plain(w, r, c, body) {
		c.quiet = true
		return true
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(strings.NewReader(body), r.Body), r.Body}
	return false
}

// IsClean reports whether a path is as the mux knows them. One that is not, the
// mux would redirect: a script whose variable is empty then means another thing
// (/v1/tenants//api-keys), and a POST that is redirected loses its body. So the
// face answers such paths itself, and so must who routes to it.
func IsClean(p string) bool {
	c := path.Clean(p)
	return p == c || p == c+"/" && c != "/"
}

// readBody reads the whole body before anything acts on it, and puts it back. How
// long it may take to arrive is the server's ReadTimeout. (The framework's own
// deadline would stay on the connection, and end the context of the operation.)
func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, *Problem) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	var body []byte
	var err error
	if n := r.ContentLength; n > 0 && n <= most {
		body = make([]byte, n) // net/http ends the body there
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	}
	if err == nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
		return body, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, problem(http.StatusRequestEntityTooLarge, "body_too_large", "The request body is larger than this operation takes.")
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, problem(http.StatusRequestTimeout, "body_timeout", "The request body did not arrive in time.")
	}
	return nil, problem(http.StatusBadRequest, "body_unreadable", "The request body broke off.")
}

// noRoute answers for a path or method that is not in the mux.
func (a *API) noRoute(w http.ResponseWriter, r *http.Request, next http.Handler) {
	probe := &recorder{ResponseWriter: discard{http.Header{}}}
	next.ServeHTTP(probe, r) // the mux knows which methods the path has
	if probe.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", probe.Header().Get("Allow"))
		writeProblem(w, r, problem(http.StatusMethodNotAllowed, "method_not_allowed", "This path takes "+probe.Header().Get("Allow")+"."))
		return
	}
	writeProblem(w, r, problem(http.StatusNotFound, "route_not_found", "There is no such path. See /docs."))
}

// requestIDHeader is telemetry.RequestIDHeader as net/http spells it.
var requestIDHeader = http.CanonicalHeaderKey(telemetry.RequestIDHeader)

// The values of headers that every answer carries.
var noSniff, noStore = []string{"nosniff"}, []string{"no-store"}

var errNoCredential = fault.New(fault.Unauthenticated, "credential_required", "This needs a credential: send Authorization: Bearer with a token or key.")

// admit authenticates, and tells who came with an API key what its rate limits
// have left, also when that is nothing.
func (a *API) admit(w http.ResponseWriter, r *http.Request, c *call, check func(ctx context.Context, bearer string) (access.Principal, error)) error {
	err := a.authenticate(r, c, check)
	if limits := c.limits.Limits; len(limits) > 0 {
		w.Header().Set(ratelimit.PolicyHeader, ratelimit.Policy(limits...))
		w.Header().Set(ratelimit.StateHeader, ratelimit.State(limits...))
	}
	return err
}

// locate finds out where a request is from.
func (a *API) locate(r *http.Request, c *call) {
	c.from.RequestID, c.from.UserAgent = c.id, clip(strings.ToValidUTF8(r.UserAgent(), "�"), 512)
	if a.s.ClientIP != nil {
		c.from.SourceIP = a.s.ClientIP(r)
	} else if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		c.from.SourceIP = ap.Addr().Unmap().WithZone("")
	}
}

// authenticate finds out where a request is from, and whose it is.
func (a *API) authenticate(r *http.Request, c *call, check func(ctx context.Context, bearer string) (access.Principal, error)) error {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return errNoCredential
	}
	scheme, bearer, _ := strings.Cut(values[0], " ")
	bearer = strings.TrimSpace(bearer)
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || bearer == "" {
		return errNoCredential
	}
	a.locate(r, c)
	who, err := check(&c.ctx, bearer)
	if err != nil {
		return err
	}
	who.SourceIP, who.UserAgent, who.RequestID = c.from.SourceIP, c.from.UserAgent, c.from.RequestID
	c.who = who
	return nil
}

// once carries out a request with an Idempotency-Key, or replays its answer.
func (a *API) once(w http.ResponseWriter, r *http.Request, body []byte, who access.Principal, key string, next http.Handler) {
	claim, before, err := a.s.Idempotency.Begin(r.Context(), idempotency.Request{
		Principal: string(who.Type) + ":" + who.ID, Key: key, Method: r.Method, Path: r.URL.RequestURI(), Body: body,
	})
	if err != nil {
		writeProblem(w, r, a.answer(r.Context(), err))
		return
	}
	if before != nil {
		for k, v := range before.Header {
			w.Header().Set(k, v)
		}
		w.Header().Set("Idempotency-Replayed", "true")
		w.WriteHeader(before.Status)
		_, _ = w.Write(before.Body) // the caller may be gone
		return
	}
	r = r.WithContext(claim.Context(r.Context()))
	held := &buffer{header: w.Header(), status: http.StatusOK}
	finished := false
	finish := func(ans idempotency.Answer) {
		finished = true
		// The answer is kept even when the caller has gone: that is when it is needed.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 5*time.Second)
		defer cancel()
		if err := claim.Finish(ctx, ans); err != nil {
			a.log.ErrorContext(ctx, "answer not kept", "error", err)
		}
	}
	defer func() {
		if !finished { // a panic on its way up
			finish(idempotency.Answer{Status: http.StatusInternalServerError})
		}
	}()
	next.ServeHTTP(held, r)
	ans := idempotency.Answer{Status: held.status, Header: map[string]string{}, Body: held.body.Bytes()}
	for _, k := range []string{"Content-Type", "Location", "Etag"} {
		if v := held.header.Get(k); v != "" {
			ans.Header[k] = v
		}
	}
	finish(ans)
	w.WriteHeader(held.status)
	_, _ = w.Write(held.body.Bytes()) // the caller may be gone
}

func (a *API) logCall(r *http.Request, c *call, status int, began time.Time) {
	level := slog.LevelInfo
	if c.quiet && status < http.StatusBadRequest {
		// Products ask with every request of theirs: the metrics count, the log would drown.
		if level = slog.LevelDebug; !a.log.Enabled(&c.ctx, level) {
			return
		}
	}
	attrs := []slog.Attr{
		slog.String("method", r.Method), slog.String("route", c.pattern), slog.Int("status", status),
		slog.Duration("duration", time.Since(began)),
	}
	if c.who.ID != "" {
		attrs = append(attrs, slog.String("actor_id", c.who.ID))
	}
	if c.err != nil {
		p := problemOf(c.err)
		attrs = append(attrs, slog.String("code", p.Code))
		if status >= 500 {
			level = slog.LevelError
			attrs = append(attrs, slog.String("error", c.err.Error()))
		}
	}
	a.log.LogAttrs(&c.ctx, level, "request", attrs...)
}

func storable(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// unescaped undoes %XX, leaving what is no escape as it is; it is only for checks.
func unescaped(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func unhex(c byte) int { return strings.IndexByte("0123456789abcdef", c|0x20) }

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// recorder notes the status. A write that fails is none of the handlers' business:
// the caller is gone, and what was done is done.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	_, _ = r.ResponseWriter.Write(b)
	return len(b), nil
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// buffer holds an answer back until it is kept.
type buffer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (b *buffer) Header() http.Header         { return b.header }
func (b *buffer) WriteHeader(status int)      { b.status = status }
func (b *buffer) Write(p []byte) (int, error) { return b.body.Write(p) }

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) WriteHeader(int)             {}
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
