package tenant

import (
	"encoding/json"
	"maps"
	"net"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/landlordhq/landlord/internal/fault"
)

// The bounds of a tenant's fields; lengths are in characters unless stated.
const (
	maxName          = 200
	maxText          = 200 // contact name, references, sales owner, plan
	maxPhone         = 50
	maxEmail         = 254 // bytes: RFC 5321, 4.5.3.1.3
	maxReason        = 500
	maxOrigins       = 50
	maxMetadataKeys  = 50
	maxMetadataBytes = 16 << 10 // as JSON
	maxQuery         = 100
)

var (
	slugPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,38}[a-z0-9]$`)
	keyPattern  = regexp.MustCompile(`^[A-Za-z0-9_.:/-]{1,64}$`)
	notSlug     = regexp.MustCompile(`[^a-z0-9]+`)
)

// slugOf makes a slug from a name; "" when too little of the name is ASCII.
func slugOf(name string) string {
	s := strings.Trim(notSlug.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if len(s) > 40 {
		s = strings.TrimRight(s[:40], "-")
	}
	if !slugPattern.MatchString(s) {
		return ""
	}
	return s
}

// normalize brings a tenant's text into the one form that is stored: no blanks
// around it, origins as browsers send them, no empty list or map that is nil.
func (t *Tenant) normalize() {
	for _, s := range []*string{
		&t.Name, &t.Plan, &t.ExternalID, &t.ERPCustomerID, &t.StripeCustomerID,
		&t.ContactName, &t.ContactEmail, &t.ContactPhone, &t.BillingEmail, &t.SalesOwner,
	} {
		*s = strings.TrimSpace(*s)
	}
	if t.Metadata == nil {
		t.Metadata = map[string]any{}
	}
	origins := make([]string, 0, len(t.AllowedOrigins))
	for _, o := range t.AllowedOrigins {
		if n, ok := origin(o); ok {
			o = n
		}
		if !slices.Contains(origins, o) {
			origins = append(origins, o)
		}
	}
	t.AllowedOrigins = origins
	t.ContractStart, t.ContractEnd = dateOf(t.ContractStart), dateOf(t.ContractEnd)
}

// validate complains about what the fields of a tenant may not be.
func (t *Tenant) validate() fault.Fields {
	var f fault.Fields
	f.Check(t.Name != "", "name", "required", "A tenant needs a name.")
	text(&f, "name", t.Name, maxName)
	switch {
	case t.Slug == "":
		f.Add("slug", "required", "A slug can't be made from this name: give one.")
	case !slugPattern.MatchString(t.Slug):
		f.Add("slug", "slug_malformed", "A slug is 3 to 40 characters of a-z, 0-9 and -, and begins and ends with a letter or digit.")
	}
	f.Check(t.Kind.Valid(), "kind", "not_one_of", "kind is customer, demo, internal, reseller or enterprise.")
	f.Check(t.Plan != "", "plan", "required", "A tenant needs a plan.")
	text(&f, "plan", t.Plan, maxText)
	text(&f, "external_id", t.ExternalID, maxText)
	text(&f, "erp_customer_id", t.ERPCustomerID, maxText)
	text(&f, "stripe_cust_id", t.StripeCustomerID, maxText)
	text(&f, "contact_name", t.ContactName, maxText)
	text(&f, "contact_phone", t.ContactPhone, maxPhone)
	text(&f, "sales_owner", t.SalesOwner, maxText)
	email(&f, "contact_email", t.ContactEmail)
	email(&f, "billing_email", t.BillingEmail)
	f.Check(len(t.AllowedOrigins) <= maxOrigins, "allowed_origins", "too_many", "At most %d origins.", maxOrigins)
	for _, o := range t.AllowedOrigins {
		if _, ok := origin(o); !ok {
			f.Add("allowed_origins", "origin_malformed", "An origin is http:// or https://, a host and perhaps a port, without a path: https://app.example.com.")
			break
		}
	}
	checkMetadata(&f, t.Metadata)
	f.Check(t.ContractStart == nil || t.ContractEnd == nil || !t.ContractEnd.Before(*t.ContractStart),
		"contract_end", "before_start", "The contract can't end before it starts.")
	return f
}

func text(f *fault.Fields, field, s string, limit int) {
	f.Check(utf8.RuneCountInString(s) <= limit, field, "too_long", "At most %d characters.", limit)
	f.Check(utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl), field, "invalid_text", "Control characters and bytes that are not UTF-8 can't be stored here.")
}

func email(f *fault.Fields, field, s string) {
	if s == "" {
		return
	}
	a, err := mail.ParseAddress(s)
	f.Check(err == nil && a.Address == s && len(s) <= maxEmail, field, "email_malformed", "This is not an e-mail address.")
}

func checkMetadata(f *fault.Fields, m map[string]any) {
	f.Check(len(m) <= maxMetadataKeys, "metadata", "too_many", "At most %d keys.", maxMetadataKeys)
	for k := range m {
		if !keyPattern.MatchString(k) {
			f.Add("metadata", "key_malformed", "A metadata key is 1 to 64 characters of letters, digits and _ . : / -.")
			break
		}
	}
	b, err := json.Marshal(m)
	f.Check(err == nil && len(b) <= maxMetadataBytes, "metadata", "too_large", "At most %d KiB as JSON.", maxMetadataBytes>>10)
}

// origin returns an origin as a browser writes it (RFC 6454, 6.1).
func origin(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || u.ForceQuery || strings.HasSuffix(s, "#") {
		return "", false
	}
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if scheme != "http" && scheme != "https" || !hostOK(host) || strings.HasSuffix(u.Host, ":") {
		return "", false
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" {
		return scheme + "://" + host, true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || n == 0:
		return "", false
	case scheme == "http" && n == 80, scheme == "https" && n == 443: // browsers leave these out
		return scheme + "://" + host, true
	default:
		return scheme + "://" + host + ":" + strconv.FormatUint(n, 10), true
	}
}

// hostOK takes IP addresses and names of letters, digits, dots and dashes;
// other alphabets come as punycode, which is how browsers send them.
func hostOK(h string) bool {
	if net.ParseIP(h) != nil {
		return true
	}
	if h == "" || len(h) > 253 {
		return false
	}
	for label := range strings.SplitSeq(h, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }) {
			return false
		}
	}
	return true
}

// mergeMetadata applies a merge patch (RFC 7396) to metadata without changing it.
func mergeMetadata(dst, patch map[string]any) map[string]any {
	out := make(map[string]any, len(dst)+len(patch))
	maps.Copy(out, dst)
	for k, v := range patch {
		if v == nil {
			delete(out, k)
			continue
		}
		if p, ok := v.(map[string]any); ok {
			old, _ := out[k].(map[string]any)
			v = mergeMetadata(old, p)
		}
		out[k] = v
	}
	return out
}

// dateOf cuts a time to its date in UTC.
func dateOf(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	y, m, d := t.UTC().Date()
	return new(time.Date(y, m, d, 0, 0, 0, 0, time.UTC))
}

// validate complains about a filter that can't match anything by mistake.
func (f Filter) validate() error {
	var c fault.Fields
	c.Check(f.Status == "" || f.Status.Valid(), "status", "not_one_of", "status is demo, trial, active, frozen, suspended or archived.")
	c.Check(f.EffectiveStatus == "" || f.EffectiveStatus.Valid(), "effective_status", "not_one_of", "effective_status is demo, trial, active, frozen, suspended or archived.")
	c.Check(f.Kind == "" || f.Kind.Valid(), "kind", "not_one_of", "kind is customer, demo, internal, reseller or enterprise.")
	c.Check(f.MetadataKey == "" || keyPattern.MatchString(f.MetadataKey), "metadata", "key_malformed", "The filter is KEY or KEY=VALUE.")
	c.Check(f.MetadataKey != "" || f.MetadataValue == nil, "metadata", "key_malformed", "The filter is KEY or KEY=VALUE.")
	c.Check(utf8.RuneCountInString(f.Query) <= maxQuery, "q", "too_long", "At most %d characters.", maxQuery)
	return c.Err()
}
