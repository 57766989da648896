package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/outbound"
)

// Send makes one request to a tenant's URL: outbound.Client's Do.
type Send func(context.Context, outbound.Request) (outbound.Response, error)

const (
	// keptBody is how much of an answer is kept, keptHeaders of its headers.
	keptBody    = 8 << 10
	keptHeaders = 8 << 10
)

// Redacted stands in the log for a value that is not for it.
const Redacted = "[redacted]"

// What went wrong with a try that was answered, in one word; one that was not has a
// class of outbound.
const (
	ClassRedirect  = "redirect"  // 3xx: redirects are not followed
	ClassGone      = "gone"      // 410
	ClassThrottled = "throttled" // 429, 503
	ClassStatus    = "status"    // another status than 2xx
	ClassSecrets   = "secrets"   // not sent: the endpoint's boxes can't be opened
)

// job is a delivery to be tried now.
type job struct {
	claim

	route *route
}

// result is what a try came to.
type result struct {
	at      time.Time
	took    time.Duration
	sent    map[string]string // headers, as the log shows them
	answer  outbound.Response
	class   string // "" is success
	message string
	retry   time.Duration // Retry-After
}

// launch tries a delivery beside everything else.
func (e *Engine) launch(send context.Context, j job) {
	e.flights.Go(func() {
		o := outcome{job: j}
		switch now := e.clock.now(); {
		case j.Payload == nil:
			o.kind = wasErased
		case j.Expired || !j.ExpiresAt.After(now):
			o.kind = wasLate
		case j.ClaimedUntil.Sub(now) < e.cfg.Timeout, send.Err() != nil: // held up here for so long that another may take it
			o.kind = notTried
		default:
			o.result = e.try(send, j)
			o.kind = o.happened()
		}
		e.lanes.finished(j.EndpointID, o.took, o.pause())
		e.outcomes <- o
	})
}

// happened tells a try from what tells nothing of the endpoint: our own stop, and
// a host that very many send to at once.
func (r result) happened() kind {
	if r.class == string(outbound.Cancelled) || r.class == string(outbound.Busy) {
		return notTried
	}
	return tried
}

// A receiver that is throttling is left alone for as long as it says, within bounds.
const (
	minPause = time.Second
	maxPause = 10 * time.Minute
)

// pause is for how long nothing else is sent to the endpoint.
func (r result) pause() time.Duration {
	switch r.class {
	case ClassThrottled:
		return min(max(r.retry, minPause), maxPause)
	case string(outbound.Busy):
		return minPause
	default:
		return 0
	}
}

// message is the body of a request, after Standard Webhooks: for an event the same
// bytes in every try and for every endpoint.
func message(eventType, payload string) []byte {
	at := payload[:strings.IndexByte(payload, '{')] // an object begins so, and no time holds one
	b := make([]byte, 0, len(payload)+len(eventType)+40)
	b = append(b, `{"type":"`...)
	b = append(b, eventType...) // of letters, digits, _ and .
	b = append(b, `","timestamp":"`...)
	b = append(b, at...)
	b = append(b, `","data":`...)
	b = append(b, payload[len(at):]...)
	return append(b, '}')
}

// try makes one request.
func (e *Engine) try(ctx context.Context, j job) result {
	r := result{at: e.clock.now()}
	if j.route == nil || j.route.err != nil {
		r.class, r.message = ClassSecrets, "The endpoint's signing secrets can't be opened with this installation's keys."
		return r
	}
	body := message(j.EventType, *j.Payload)
	request := outbound.Request{
		Method: http.MethodPost, URL: j.route.url, Body: body, Key: j.EndpointID.String(), Timeout: e.cfg.Timeout, MaxBody: keptBody,
		Repeatable: true, // a receiver knows a duplicate by its id
	}
	request.Header, r.sent = e.headers(j, r.at, body)
	var err error
	r.answer, err = e.cfg.Send(ctx, request)
	r.took = r.answer.Timing.Total
	if err != nil {
		r.class, r.message = string(outbound.ClassOf(err)), "The request could not be made."
		if known, ok := errors.AsType[*outbound.Error](err); ok {
			r.message = known.Detail
		}
		return r
	}
	r.retry = retryAfter(r.answer.Header, r.at)
	r.class, r.message = judge(r.answer.Status)
	return r
}

// headers returns those of a request, and how the log shows them.
func (e *Engine) headers(j job, at time.Time, body []byte) (h http.Header, shown map[string]string) {
	h, shown = make(http.Header, len(j.route.headers)+5), make(map[string]string, len(j.route.headers)+5)
	for name, value := range j.route.headers {
		h.Set(name, value)
		shown[strings.ToLower(name)] = Redacted
	}
	event := j.EventID.String()
	for _, own := range [...][2]string{
		{"Content-Type", "application/json"},
		{"User-Agent", e.cfg.UserAgent},
		{HeaderID, event},
		{HeaderTimestamp, strconv.FormatInt(at.Unix(), 10)},
	} {
		h.Set(own[0], own[1])
		shown[strings.ToLower(own[0])] = own[1]
	}
	h.Set(HeaderSignature, j.route.signer.sign(event, at, body))
	shown[HeaderSignature] = Redacted
	return h, shown
}

// judge says what a status means.
func judge(status int) (class, message string) {
	switch {
	case status >= 200 && status < 300:
		return "", ""
	case status >= 300 && status < 400:
		return ClassRedirect, "It answered with a redirect, and those are not followed: give the URL that it leads to."
	case status == http.StatusGone:
		return ClassGone, "It answered 410 Gone: it wants no more."
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return ClassThrottled, "It answered " + strconv.Itoa(status) + " " + http.StatusText(status) + "."
	default:
		return ClassStatus, strings.TrimSpace("It answered "+strconv.Itoa(status)+" "+http.StatusText(status)) + "."
	}
}

// text makes bytes into text that can be stored.
func text(b []byte) string {
	return strings.ReplaceAll(strings.ToValidUTF8(string(b), "\uFFFD"), "\x00", "\uFFFD")
}

// shownHeaders makes an answer's headers into JSON, as many as fit.
func shownHeaders(h http.Header) string {
	kept := make(map[string]string, len(h))
	size := 0
	for _, name := range slices.Sorted(maps.Keys(h)) {
		value := text([]byte(strings.Join(h[name], ", ")))
		if size += len(name) + len(value); size > keptHeaders {
			break
		}
		kept[strings.ToLower(text([]byte(name)))] = value
	}
	return asJSON(kept)
}

func asJSON(m map[string]string) string {
	b, err := json.Marshal(m)
	if err != nil {
		return "{}" // strings always encode
	}
	return string(b)
}
