package webhook

import (
	"encoding/json"
	"maps"
	"net/textproto"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/outbound"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/patch"
	"github.com/landlordhq/landlord/internal/secret"
)

// The bounds of an endpoint's fields.
const (
	MaxName        = 200
	MaxDescription = 1000
	MaxReason      = 500
	MaxURL         = 2000
	MaxPatterns    = 50
	MaxHeaders     = 20
	MaxHeaderValue = 1000
	MaxMetadata    = 8 << 10 // bytes of JSON
	MaxRate        = 10_000
	MaxFlights     = 100
	MaxSecrets     = 10 // that sign at a time
	MaxOverlap     = 30 * 24 * time.Hour

	DefaultFlights = 10
	DefaultOverlap = 24 * time.Hour
)

// CreateParams is what an endpoint is made from.
type CreateParams struct {
	TenantID    id.Tenant
	ProjectID   id.Project // zero: events of the whole tenant
	Name        string
	URL         string
	Events      []string // patterns
	Description string
	Metadata    map[string]any
	Headers     map[string]string // sent with each request
	Signatures  []Signature       // none: V1
	RateLimit   *int              // requests a RatePeriod
	RatePeriod  Period            // "": PerSecond
	MaxInFlight int               // 0: DefaultFlights
	// Secret takes over the one that the receiver has already; zero makes one.
	Secret secret.Text
}

func (p *CreateParams) validate() error {
	var f fault.Fields
	p.Name = checkName(&f, p.Name)
	p.Events = checkPatterns(&f, p.Events)
	checkText(&f, "description", p.Description, MaxDescription)
	p.Metadata = patch.Merge(nil, p.Metadata)
	checkMetadata(&f, p.Metadata)
	p.Headers = checkHeaders(&f, p.Headers)
	if len(p.Signatures) == 0 {
		p.Signatures = []Signature{V1}
	}
	p.Signatures = checkSignatures(&f, p.Signatures)
	if p.RatePeriod == "" {
		p.RatePeriod = PerSecond
	}
	checkRate(&f, p.RateLimit, p.RatePeriod)
	if p.MaxInFlight == 0 {
		p.MaxInFlight = DefaultFlights
	}
	checkFlights(&f, p.MaxInFlight)
	return f.Err()
}

// UpdateParams changes an endpoint; absent fields stay as they are.
type UpdateParams struct {
	TenantID    id.Tenant
	ID          id.Webhook
	Name        patch.Field[string]
	URL         patch.Field[string]
	Events      patch.Field[[]string]
	Description patch.Field[string]
	Metadata    patch.Field[map[string]any]     // merged key by key; null: {}
	Headers     patch.Field[map[string]*string] // merged name by name, a nil takes one away; null: none
	Signatures  patch.Field[[]Signature]
	RateLimit   patch.Field[int] // null: none
	RatePeriod  patch.Field[Period]
	MaxInFlight patch.Field[int] // null: DefaultFlights
	IfMatch     time.Time        // zero: whatever the version
}

// apply changes e and its headers as the fields say.
func (p *UpdateParams) apply(e *Endpoint, headers map[string]string) (map[string]string, error) {
	var f fault.Fields
	if p.Name.Apply(&e.Name) {
		e.Name = checkName(&f, e.Name)
	}
	p.URL.Apply(&e.URL)
	if p.Events.Apply(&e.Events) {
		e.Events = checkPatterns(&f, e.Events)
	}
	if p.Description.Apply(&e.Description) {
		checkText(&f, "description", e.Description, MaxDescription)
	}
	if m, ok := p.Metadata.Get(); ok {
		e.Metadata = patch.Merge(e.Metadata, m)
		checkMetadata(&f, e.Metadata)
	} else if p.Metadata.IsNull() {
		e.Metadata = map[string]any{}
	}
	if m, ok := p.Headers.Get(); ok {
		headers = checkHeaders(&f, mergeHeaders(headers, m))
	} else if p.Headers.IsNull() {
		headers = nil
	}
	if p.Signatures.Apply(&e.Signatures) {
		e.Signatures = checkSignatures(&f, e.Signatures)
	}
	p.RateLimit.ApplyPtr(&e.RateLimit)
	if p.RatePeriod.Apply(&e.RatePeriod) && p.RatePeriod.IsNull() {
		e.RatePeriod = PerSecond
	}
	checkRate(&f, e.RateLimit, e.RatePeriod)
	if p.MaxInFlight.Apply(&e.MaxInFlight) {
		if p.MaxInFlight.IsNull() {
			e.MaxInFlight = DefaultFlights
		}
		checkFlights(&f, e.MaxInFlight)
	}
	return headers, f.Err()
}

// changesOf names the fields that differ, each with its value before and after. Of
// headers only that they changed: a value may be a credential.
func changesOf(a, b Endpoint, headers bool) map[string]any {
	out := map[string]any{}
	note := func(field string, from, to any) {
		if !reflect.DeepEqual(from, to) {
			out[field] = map[string]any{"from": from, "to": to}
		}
	}
	note("name", a.Name, b.Name)
	note("url", a.URL, b.URL)
	note("events", a.Events, b.Events)
	note("description", a.Description, b.Description)
	note("metadata", a.Metadata, b.Metadata)
	note("signatures", a.Signatures, b.Signatures)
	note("rate_limit", a.RateLimit, b.RateLimit)
	note("rate_period", a.RatePeriod, b.RatePeriod)
	note("max_in_flight", a.MaxInFlight, b.MaxInFlight)
	note("status", a.Status, b.Status)
	if headers {
		out["headers"] = map[string]any{"changed": true}
	}
	return out
}

// Filter narrows a list of endpoints.
type Filter struct {
	TenantID  id.Tenant
	ProjectID id.Project // zero: any
	Status    Status     // "": any
	Page      page.Request
}

func (p Filter) validate() error {
	var f fault.Fields
	f.Check(p.Status == "" || slices.Contains([]Status{Active, Paused, Disabled}, p.Status), "status", "not_one_of", "status is active, paused or disabled.")
	if err := f.Err(); err != nil {
		return err
	}
	return p.Page.Validate()
}

func checkName(f *fault.Fields, s string) string {
	s = strings.TrimSpace(s)
	f.Check(s != "", "name", "required", "An endpoint needs a name.")
	checkText(f, "name", s, MaxName)
	return s
}

// checkText refuses what is too long to store, or can't be shown on a line.
func checkText(f *fault.Fields, field, s string, most int) {
	switch {
	case !utf8.ValidString(s):
		f.Add(field, "invalid_text", "%s is not valid UTF-8.", field)
	case utf8.RuneCountInString(s) > most:
		f.Add(field, "too_long", "%s has at most %d characters.", field, most)
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) ||
		field == "name" && strings.Contains(s, "\n"):
		f.Add(field, "invalid_text", "%s holds a control character.", field)
	}
}

// checkPatterns sorts and removes what is there twice.
func checkPatterns(f *fault.Fields, patterns []string) []string {
	f.Check(len(patterns) > 0, "events", "required", "An endpoint wants at least one event: name a type, a prefix such as render.*, or * for all.")
	f.Check(len(patterns) <= MaxPatterns, "events", "too_many", "An endpoint has at most %d patterns.", MaxPatterns)
	out := slices.Clone(patterns)
	slices.Sort(out)
	out = slices.Compact(out)
	for _, p := range out {
		f.Check(ValidPattern(p), "events", "pattern_malformed", "%.100q is no pattern: write a type (render.completed), a prefix (render.*), or *.", p)
	}
	return out
}

func checkMetadata(f *fault.Fields, m map[string]any) {
	b, err := json.Marshal(m)
	f.Check(err == nil && len(b) <= MaxMetadata, "metadata", "too_large", "metadata has at most %d KiB as JSON.", MaxMetadata>>10)
}

func checkSignatures(f *fault.Fields, list []Signature) []Signature {
	out := slices.Clone(list)
	slices.Sort(out)
	out = slices.Compact(out)
	f.Check(len(out) > 0, "signatures", "required", "Requests are signed: name v1, v1a or both.")
	for _, s := range out {
		f.Check(s == V1 || s == V1a, "signatures", "not_one_of", "signatures holds v1 and v1a.")
	}
	return out
}

func checkRate(f *fault.Fields, limit *int, period Period) {
	f.Check(limit == nil || *limit >= 1 && *limit <= MaxRate, "rate_limit", "out_of_range", "rate_limit is a whole number from 1 to %d.", MaxRate)
	f.Check(period == PerSecond || period == PerMinute, "rate_period", "not_one_of", "rate_period is second or minute.")
}

func checkFlights(f *fault.Fields, n int) {
	f.Check(n >= 1 && n <= MaxFlights, "max_in_flight", "out_of_range", "max_in_flight is a whole number from 1 to %d.", MaxFlights)
}

// reserved are the headers that a request has from us, beside those that are the
// connection's.
var reserved = []string{
	"Accept-Encoding", "Content-Encoding", "Content-Type", "Date", "Forwarded", "Http2-Settings", "Origin", "User-Agent", "Via",
}

// reservedPrefixes begin the names of headers that mean something to receivers, or
// to the proxies before them.
var reservedPrefixes = []string{"Webhook-", "Svix-", "X-Forwarded-", "X-Landlord-"}

// checkHeaders refuses headers that are ours, or that would break the request, and
// returns the others by their usual spelling.
func checkHeaders(f *fault.Fields, headers map[string]string) map[string]string {
	f.Check(len(headers) <= MaxHeaders, "headers", "too_many", "An endpoint has at most %d headers of its own.", MaxHeaders)
	out := make(map[string]string, len(headers))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value, canonical := headers[name], textproto.CanonicalMIMEHeaderKey(name)
		_, twice := out[canonical]
		switch {
		case len(name) > 100 || !isToken(name):
			f.Add("headers", "header_malformed", "%.100q is no name of a header.", name)
		case slices.Contains(reserved, canonical) || outbound.Reserved(canonical) || slices.ContainsFunc(reservedPrefixes, func(p string) bool { return strings.HasPrefix(canonical, p) }):
			f.Add("headers", "header_reserved", "%s is set by landlord or by the connection.", canonical)
		case twice:
			f.Add("headers", "header_malformed", "%s is there twice.", canonical)
		case value == "" || len(value) > MaxHeaderValue || !isFieldValue(value):
			f.Add("headers", "header_malformed", "The value of %s is not printable text of 1 to %d bytes.", canonical, MaxHeaderValue)
		default:
			out[canonical] = value
		}
	}
	return out
}

// isToken reports whether s may name a header (RFC 9110, 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// isFieldValue reports whether s may be a header's value: printable ASCII, no blanks
// around it (RFC 9110, 5.5, without what is obsolete).
func isFieldValue(s string) bool {
	return strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') })
}

func mergeHeaders(to map[string]string, by map[string]*string) map[string]string {
	out := maps.Clone(to)
	if out == nil {
		out = map[string]string{}
	}
	for name, value := range by {
		delete(out, textproto.CanonicalMIMEHeaderKey(name))
		if value != nil {
			out[name] = *value
		}
	}
	return out
}
