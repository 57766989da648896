package webhook

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/secret"
)

// Tolerance is how far a request's time may lie from the receiver's, either way, by
// the libraries of Standard Webhooks.
const Tolerance = 5 * time.Minute

// VerifyingKey is what a receiver verifies signatures of one version with.
type VerifyingKey struct {
	version Signature
	shared  []byte
	public  ed25519.PublicKey
}

var errVerifyingKey = errors.New("a request is verified with the whsec_… that was shown when it was made, or with a whpk_… public key")

// ParseVerifyingKey takes a secret, or the public key of one.
func ParseVerifyingKey(text secret.Text) (VerifyingKey, error) {
	s := strings.TrimSpace(text.Reveal())
	s = strings.TrimPrefix(s, string(V1)+",") // some write the version before it
	if encoded, ok := strings.CutPrefix(s, prefixV1aPublic); ok {
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(raw) != ed25519.PublicKeySize {
			return VerifyingKey{}, errVerifyingKey
		}
		return VerifyingKey{version: V1a, public: raw}, nil
	}
	parsed, err := ParseSecret(secret.NewText(s), time.Time{})
	if err != nil {
		return VerifyingKey{}, errVerifyingKey
	}
	k, err := parsed.key()
	if err != nil {
		return VerifyingKey{}, errVerifyingKey
	}
	out := VerifyingKey{version: k.version, shared: k.shared}
	if k.version == V1a {
		out.public, _ = k.private.Public().(ed25519.PublicKey)
	}
	return out, nil
}

func (k VerifyingKey) verify(content, signature []byte) bool {
	if k.version == V1a {
		return ed25519.Verify(k.public, content, signature)
	}
	return hmac.Equal(key{version: V1, shared: k.shared}.sign(content), signature)
}

// VerifyParams are a request as it came, and what to verify it with.
type VerifyParams struct {
	Header    http.Header
	Body      []byte
	Keys      []VerifyingKey // one of them must have signed it
	Now       time.Time
	Tolerance time.Duration // zero: Tolerance
}

// Finding is what is right or wrong with a part of a request.
type Finding struct {
	Part   string // a header's name, or "body"
	OK     bool
	Detail string
}

// Verify verifies a request as a receiver does, and tells of every part what is
// right or wrong with it. The request is good when all is.
func Verify(p VerifyParams) []Finding {
	if p.Tolerance == 0 {
		p.Tolerance = Tolerance
	}
	return append([]Finding{p.checkID(), p.checkTime()}, p.checkSignature()...)
}

// once returns the value of a header that must be there once.
func (p VerifyParams) once(name string) (value string, missing *Finding) {
	switch all := p.Header.Values(name); {
	case len(all) == 0 || strings.TrimSpace(all[0]) == "":
		return "", &Finding{Part: name, Detail: "It is missing. A proxy may have left it out, or the request is not from here."}
	case len(all) > 1:
		return "", &Finding{Part: name, Detail: fmt.Sprintf("It is there %d times; one is sent.", len(all))}
	default:
		return strings.TrimSpace(all[0]), nil
	}
}

func (p VerifyParams) checkID() Finding {
	value, missing := p.once(HeaderID)
	if missing != nil {
		return *missing
	}
	return Finding{Part: HeaderID, OK: true, Detail: value}
}

func (p VerifyParams) checkTime() Finding {
	value, missing := p.once(HeaderTimestamp)
	if missing != nil {
		return *missing
	}
	f := Finding{Part: HeaderTimestamp}
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil || seconds < 0 {
		f.Detail = fmt.Sprintf("%q is no time: it is the seconds since 1970.", value)
		return f
	}
	if seconds > 1<<37 { // the year 6325
		f.Detail = value + " is in milliseconds or finer; seconds are sent."
		return f
	}
	at := time.Unix(seconds, 0).UTC()
	age := p.Now.Sub(at).Truncate(time.Second)
	switch {
	case age > p.Tolerance:
		f.Detail = fmt.Sprintf("It was signed at %s, %s ago, and receivers take %s: a request that is repeated later is refused, as is every one where the clock is fast.",
			at.Format(time.RFC3339), age, p.Tolerance)
	case -age > p.Tolerance:
		f.Detail = fmt.Sprintf("It was signed at %s, %s from now, and receivers take %s: this clock or the sender's is wrong.", at.Format(time.RFC3339), -age, p.Tolerance)
	default:
		f.OK, f.Detail = true, fmt.Sprintf("%s, which is %s ago", at.Format(time.RFC3339), age)
		if age < 0 {
			f.Detail = fmt.Sprintf("%s, which is %s from now", at.Format(time.RFC3339), -age)
		}
	}
	return f
}

// signature is an entry of webhook-signature.
type signature struct {
	version Signature
	raw     []byte
}

// signatures reads those of versions that we know; others are passed over, as the
// specification asks.
func signatures(header string) (all []signature, malformed int) {
	for entry := range strings.FieldsSeq(header) {
		version, encoded, _ := strings.Cut(entry, ",")
		if v := Signature(version); v == V1 || v == V1a {
			raw, err := base64.StdEncoding.DecodeString(encoded)
			if err != nil {
				malformed++
				continue
			}
			all = append(all, signature{v, raw})
		}
	}
	return all, malformed
}

func (p VerifyParams) checkSignature() []Finding {
	value, missing := p.once(HeaderSignature)
	if missing != nil {
		return []Finding{*missing}
	}
	f := Finding{Part: HeaderSignature}
	if p.Header.Get(HeaderID) == "" || p.Header.Get(HeaderTimestamp) == "" {
		f.Detail = "It can't be checked without the id and the timestamp, which it signs too."
		return []Finding{f}
	}
	all, malformed := signatures(value)
	tried := slices.DeleteFunc(slices.Clone(all), func(s signature) bool {
		return !slices.ContainsFunc(p.Keys, func(k VerifyingKey) bool { return k.version == s.version })
	})
	switch {
	case len(all) == 0 && malformed > 0:
		f.Detail = "Its signature is not base64: it was cut off or changed on its way."
		return []Finding{f}
	case len(all) == 0:
		f.Detail = "It holds no signature of the versions v1 and v1a, such as v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=."
		return []Finding{f}
	case len(tried) == 0:
		f.Detail = fmt.Sprintf("It holds %s only, which a key of another version can't verify: v1 needs the whsec_… secret, v1a the whpk_… public key.", versionsOf(all))
		return []Finding{f}
	case p.signed(tried, p.Body):
		f.OK = true
		f.Detail = fmt.Sprintf("One of %s is right.", count(len(tried), "signature"))
		if len(tried) == 1 {
			f.Detail = fmt.Sprintf("The %s signature is right.", tried[0].version)
		}
		return []Finding{f, {Part: "body", OK: true, Detail: fmt.Sprintf("%s, as they were signed", count(len(p.Body), "byte"))}}
	}
	for _, was := range originals(p.Body) {
		if p.signed(tried, was.body) {
			f.OK, f.Detail = true, "It is right for the body as it was sent."
			return []Finding{f, {Part: "body", Detail: was.change + " Verify the bytes as they came, before anything parses them."}}
		}
	}
	f.Detail = fmt.Sprintf("None of %s is right: the secret is not one of this endpoint's, or what was signed (the id, the timestamp, the body) was changed.", count(len(tried), "signature"))
	return []Finding{f}
}

// signed tells whether a key made one of the signatures, over a body.
func (p VerifyParams) signed(all []signature, body []byte) bool {
	content := fmt.Appendf(nil, "%s.%s.%s", strings.TrimSpace(p.Header.Get(HeaderID)), strings.TrimSpace(p.Header.Get(HeaderTimestamp)), body)
	return slices.ContainsFunc(all, func(s signature) bool {
		return slices.ContainsFunc(p.Keys, func(k VerifyingKey) bool { return k.version == s.version && k.verify(content, s.raw) })
	})
}

// original is what a body may have been before somebody changed it.
type original struct {
	body   []byte
	change string
}

// originals undoes what is usually done to bodies before they are verified.
func originals(body []byte) []original {
	all := []original{
		{bytes.TrimRight(body, "\r\n"), "A line break was added at its end."},
		{bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")), "Its line breaks were changed."},
		{bytes.TrimPrefix(body, []byte("\uFEFF")), "A byte order mark was put before it."},
	}
	const again = "It was parsed and written again as JSON: the same data, other bytes."
	var compact bytes.Buffer
	if json.Compact(&compact, body) == nil {
		all = append(all, original{compact.Bytes(), again})
	}
	var sent struct {
		Type      string          `json:"type"`
		Timestamp string          `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}
	if json.Unmarshal(body, &sent) == nil && len(sent.Data) > 0 {
		if data, err := written(sent.Data); err == nil && data[0] == '{' {
			all = append(all, original{message(sent.Type, sent.Timestamp+string(data)), again})
		}
	}
	return all
}

func versionsOf(all []signature) string {
	var names []string
	for _, s := range all {
		if !slices.Contains(names, string(s.version)) {
			names = append(names, string(s.version))
		}
	}
	return strings.Join(names, " and ")
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
