package apikey

import (
	"context"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/secret"
)

// The bounds of a report.
const (
	MaxLeakSource = 100
	MaxLeakURL    = 2048
	maxLeaks      = 100 // places of a key that are kept
)

// leakNone is what a report does to a key that is stopped already.
const leakNone LeakAction = "none"

// Leak is a place where a key was found that should have stayed secret.
type Leak struct {
	ID         id.KeyLeak `db:"id"`
	TenantID   id.Tenant  `db:"tenant_id"`
	KeyID      id.APIKey  `db:"key_id"`
	Source     string     `db:"source"` // in what: "commit", "paste"; "": nobody said
	URL        string     `db:"url"`    // as the report has it, and never fetched; "": nobody said
	ReportedBy string     `db:"reported_by"`
	Action     LeakAction `db:"action"` // what the report did; none: the key was stopped already
	CreatedAt  time.Time  `db:"created_at"`
}

// ReportParams tell that a token was found where it must not be.
type ReportParams struct {
	Token  secret.Text
	Source string
	URL    string
}

func (p *ReportParams) validate() error {
	var f fault.Fields
	f.Check(!p.Token.IsZero(), "token", "required", "Send the token that was found.")
	checkText(&f, "source", p.Source, MaxLeakSource)
	f.Check(p.URL == "" || p.URL == leakURL(p.URL), "url", "wrong_format", "url is an http or https URL of at most %d characters.", MaxLeakURL)
	return f.Err()
}

// Reported is what became of a report.
type Reported struct {
	Known  bool       // the token is a key, and the caller's to report
	Key    Key        // as it is now
	Action LeakAction // what the report did; none: it was stopped, or of this place was told before
}

var notKnown = Reported{Action: leakNone}

// ReportLeak does to a key what the policies that bind its tenant say of leaked
// ones: it revokes, disables or flags it, whatever the key's and the tenant's state
// is. A place that was told of before is told of no second time. For a token that
// is none of the caller's keys the answer is that it isn't known.
func (s *Service) ReportLeak(ctx context.Context, p ReportParams) (Reported, error) {
	who, err := access.RequireAny(ctx, access.APIKeysWrite)
	if err != nil {
		return Reported{}, err
	}
	if err := p.validate(); err != nil {
		return Reported{}, err
	}
	return s.reportLeak(ctx, who, p)
}

// ReportScanned is ReportLeak for a scanner whose signature was checked. What of
// its report can't be stored is left out: a scanner does not mend its text.
func (s *Service) ReportScanned(ctx context.Context, scanner string, p ReportParams) (Reported, error) {
	from := access.OriginOf(ctx)
	name := "secret-scanning:" + scanner
	who := access.Principal{
		Type: access.System, ID: name, Name: name, SourceIP: from.SourceIP, UserAgent: from.UserAgent, RequestID: from.RequestID,
	}
	p.Source, p.URL = printable(p.Source, MaxLeakSource), leakURL(p.URL)
	return s.reportLeak(access.With(ctx, who), who, p)
}

func (s *Service) reportLeak(ctx context.Context, who access.Principal, p ReportParams) (Reported, error) {
	e, _, err := s.verifier.lookup(ctx, p.Token.Reveal())
	if e == nil || err != nil {
		return notKnown, err
	}
	if in, err := who.Reaches(ctx, e.tenant); err != nil || !in {
		return notKnown, err
	}
	var out Reported
	changed := false
	err = s.db.InTenant(ctx, e.tenant, func(tx pg.Tx) (err error) {
		out, changed, err = s.leaked(ctx, tx, e.tenant, e.id, p)
		return err
	})
	if err != nil {
		return Reported{}, err
	}
	if changed {
		s.forget(e.id)
	}
	return out, nil
}

// leaked takes in a report of a key, unless it says nothing new.
func (s *Service) leaked(ctx context.Context, tx pg.Tx, tenant id.Tenant, key id.APIKey, p ReportParams) (out Reported, changed bool, err error) {
	k, err := lockKey(ctx, tx, tenant, key) // of two who report the same place one waits here
	switch {
	case pg.IsNoRows(err): // deleted since it was looked up
		return notKnown, false, nil
	case err != nil:
		return Reported{}, false, err
	}
	told, places, err := countLeaks(ctx, tx, tenant, key, p.Source, p.URL)
	if err != nil || told {
		return Reported{Known: true, Key: k, Action: leakNone}, false, err
	}
	_, rules, err := bindingRules(ctx, tx, tenant)
	if err != nil {
		return Reported{}, false, err
	}
	action := k.leak(rules.LeakAction, s.now())
	full := places >= maxLeaks
	if full && (action == leakNone || action == LeakFlag) {
		return Reported{Known: true, Key: k, Action: leakNone}, false, nil
	}
	if k, err = updateLeaked(ctx, tx, &k); err != nil {
		return Reported{}, false, err
	}
	l := Leak{
		ID: id.New[id.KeyLeak](), TenantID: tenant, KeyID: key, Source: p.Source, URL: p.URL, ReportedBy: actor(ctx), Action: action,
		CreatedAt: s.now(),
	}
	if !full {
		if err := insertLeak(ctx, tx, &l); err != nil {
			return Reported{}, false, err
		}
	}
	return Reported{Known: true, Key: k, Action: action}, true, s.record(ctx, tx, "api_key.leaked", k, "", map[string]any{
		"action": action, "source": p.Source, "url": p.URL, "prefix": k.Prefix, "last4": k.Last4,
	})
}

// leak does to the key what the policies say, and returns what that was.
func (k *Key) leak(action LeakAction, now time.Time) LeakAction {
	const reason = "leaked"
	if k.LeakedAt == nil {
		k.LeakedAt = &now
	}
	switch {
	case k.RevokedAt != nil, action == LeakDisable && !k.IsActive:
		return leakNone
	case action == LeakRevoke:
		k.RevokedAt, k.RevokedReason = &now, reason
	case action == LeakDisable:
		k.turn(false, reason, now)
	}
	return action
}

// leakListName is in the cursors of Leaks.
const leakListName = "api_key_leaks"

// Leaks returns where a key was found, the newest report first.
func (s *Service) Leaks(ctx context.Context, tenant id.Tenant, key id.APIKey, r page.Request) (page.Page[Leak], error) {
	none := page.Page[Leak]{}
	if err := access.Require(ctx, access.APIKeysRead, tenant); err != nil {
		return none, err
	}
	if err := r.Validate(); err != nil {
		return none, err
	}
	after, _, err := page.Decode[id.KeyLeak](leakListName, r.Cursor)
	if err != nil {
		return none, err
	}
	var leaks []Leak
	err = s.db.ReadTenant(ctx, tenant, func(tx pg.Tx) (err error) {
		leaks, err = listLeaks(ctx, tx, tenant, key, after, r.Size()+1)
		if err != nil || len(leaks) > 0 {
			return err
		}
		_, err = selectKey(ctx, tx, tenant, key) // none, or no such key
		return found(err)
	})
	if err != nil {
		return none, err
	}
	return page.Of(leakListName, r, leaks, func(l Leak) id.KeyLeak { return l.ID }), nil
}

// leakURL is a URL that people may be shown as a link, else "".
func leakURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || s != printable(s, MaxLeakURL) {
		return ""
	}
	return s
}

// printable drops what can't be stored or shown on a line, and what is too much.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most])
	}
	return s
}
