package tenant

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestTable holds the lifecycle of docs/tenants.md: every action in every status.
func TestTable(t *testing.T) {
	t.Parallel()
	const no = Status("")
	for _, tc := range []struct {
		action Action
		to     map[Status]Status // missing: illegal
	}{
		{Activate, map[Status]Status{Trial: Active}},
		{Freeze, map[Status]Status{Trial: Frozen, Active: Frozen}},
		{Cancel, map[Status]Status{Trial: Frozen, Active: Frozen}},
		{Reactivate, map[Status]Status{Frozen: Active}},
		{Suspend, map[Status]Status{Trial: Suspended, Active: Suspended, Frozen: Suspended}},
		{Resume, map[Status]Status{Suspended: Trial}},
		{Archive, map[Status]Status{Demo: Archived, Frozen: Archived, Suspended: Archived}},
		{Restore, map[Status]Status{Archived: Frozen}},
		{Hold, map[Status]Status{Demo: Demo, Trial: Trial, Active: Active, Frozen: Frozen, Suspended: Suspended, Archived: Archived}},
		{Release, map[Status]Status{}},
		{Delete, map[Status]Status{Archived: Archived}},
	} {
		for _, from := range Statuses() {
			before := inStatus(from)
			after, rule, err := before.Next(TransitionParams{Action: tc.action, Reason: "because"}, noon)
			want := tc.to[from]
			switch {
			case want == no && fault.CodeOf(err) != "illegal_transition":
				t.Errorf("%s from %s: want illegal_transition, got %v", tc.action, from, err)
			case want == no:
				if diff := cmp.Diff(before, after); diff != "" {
					t.Errorf("%s from %s changed the tenant:\n%s", tc.action, from, diff)
				}
			case err != nil || after.Status != want:
				t.Errorf("%s from %s: got %s, %v, want %s", tc.action, from, after.Status, err, want)
			case rule.Event == "":
				t.Errorf("%s from %s has no event", tc.action, from)
			}
		}
	}
}

func inStatus(s Status) Tenant {
	v := Tenant{ID: id.New[id.Tenant](), Kind: KindCustomer, Status: s}
	switch s {
	case Demo:
		v.Kind = KindDemo
	case Frozen:
		v.enter(Frozen, "unpaid", noon)
	case Suspended:
		v.Status = Trial
		v.enter(Suspended, "abuse", noon)
	case Archived:
		v.enter(Archived, "over", noon)
	}
	return v
}

func TestNext_illegalNamesAllowed(t *testing.T) {
	t.Parallel()
	_, _, err := inStatus(Frozen).Next(TransitionParams{Action: Resume}, noon)
	want := "The tenant is frozen, which does not allow resume. Allowed now: reactivate, suspend, archive, hold."
	if got := fault.As(err).Detail; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	internal := Tenant{ID: id.InternalTenant, Status: Active}
	for _, a := range Actions() {
		if _, _, err := internal.Next(TransitionParams{Action: a, Reason: "x"}, noon); fault.CodeOf(err) != "illegal_transition" {
			t.Errorf("the internal tenant allows %s: %v", a, err)
		}
	}
}

func TestNext_reasons(t *testing.T) {
	t.Parallel()
	for _, rule := range Transitions() {
		v := inStatus(rule.From[len(rule.From)-1])
		v.LegalHold = rule.Action == Release
		if rule.Action == Reactivate && v.Status != Frozen {
			v.CancelledAt = &noon
		}
		_, _, err := v.Next(TransitionParams{Action: rule.Action, Reason: " \t"}, noon)
		if refused := err != nil && fault.As(err).Fields != nil && fault.As(err).Fields[0].Field == "reason"; refused != rule.Reason {
			t.Errorf("%s without a reason: %v", rule.Action, err)
		}
	}
}

// TestNext_walk takes tenants through random lives and checks after each step
// what must hold in every one of them.
func TestNext_walk(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := Tenant{ID: id.New[id.Tenant](), Kind: KindCustomer, Status: rapid.SampledFrom([]Status{Trial, Active}).Draw(t, "start")}
		if rapid.Bool().Draw(t, "demo") {
			v.Kind, v.Status = KindDemo, Demo
		}
		now := noon
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40*24).Draw(t, "hours")) * time.Hour)
			p := TransitionParams{Action: rapid.SampledFrom(Actions()).Draw(t, "action"), Reason: rapid.SampledFrom([]string{"", "why"}).Draw(t, "reason")}
			if p.Action == Cancel {
				p.AtEnd = rapid.Bool().Draw(t, "at_end")
			}
			if rapid.Bool().Draw(t, "end") {
				v.ContractEnd = dateOf(new(now.AddDate(0, 0, rapid.IntRange(-3, 30).Draw(t, "days"))))
				v.TrialEndsAt = v.ContractEnd
			}
			if timed, ok := v.byClock(now); ok && rapid.Bool().Draw(t, "tick") {
				p = timed
			}
			allowed := v.Allowed()
			next, rule, err := v.Next(p, now)
			if err != nil {
				if diff := cmp.Diff(v, next); diff != "" {
					t.Fatalf("%s failed and changed the tenant:\n%s", p.Action, diff)
				}
				if (fault.CodeOf(err) == "illegal_transition") == slices.Contains(allowed, p.Action) {
					t.Fatalf("%s: %v, though allowed were %v", p.Action, err, allowed)
				}
				continue
			}
			if !slices.Contains(allowed, p.Action) || !slices.Contains(rule.From, v.Status) {
				t.Fatalf("%s from %s went through, though allowed were %v", p.Action, v.Status, allowed)
			}
			if p.Action == Resume && next.Status != v.StatusBeforeSuspension {
				t.Fatalf("resumed to %s, was %s", next.Status, v.StatusBeforeSuspension)
			}
			v = next
			if complaint := broken(v, now); complaint != "" {
				t.Fatalf("after %s: %s\n%+v", p.Action, complaint, v)
			}
		}
	})
}

// broken says which invariant a tenant breaks.
func broken(v Tenant, now time.Time) string {
	set := func(b bool) string { return fmt.Sprint(b) }
	frozen := v.Status == Frozen || v.StatusBeforeSuspension == Frozen
	for name, bad := range map[string]bool{
		"suspended exactly with stamp, reason and way back": (v.Status == Suspended) != (v.SuspendedAt != nil && v.SuspensionReason != "" && v.StatusBeforeSuspension != ""),
		"not suspended, but stamps of it":                   v.Status != Suspended && (v.SuspendedAt != nil || v.SuspensionReason != "" || v.StatusBeforeSuspension != ""),
		"frozen without stamp or date of archiving":         frozen && (v.FrozenAt == nil || v.ArchiveDueAt == nil),
		"live with stamps of being frozen":                  v.Status.Live() && (v.FrozenAt != nil || v.ArchiveDueAt != nil || v.FreezeReason != ""),
		"archiving due, and not frozen":                     v.ArchiveDueAt != nil && !frozen,
		"archived exactly with stamp and purge date":        (v.Status == Archived) != (v.ArchivedAt != nil && v.PurgeDueAt != nil),
		"deleted and not archived":                          v.DeletedAt != nil && v.Status != Archived,
		"a grace shorter than promised":                     v.Status == Frozen && v.ArchiveDueAt.Sub(*v.FrozenAt) < Grace,
		"demo status and kind apart":                        (v.Status == Demo) && v.Kind != KindDemo,
		"hold without reason " + set(v.LegalHold):           v.LegalHold != (v.LegalHoldReason != ""),
		"a stamp in the future":                             v.FrozenAt != nil && v.FrozenAt.After(now),
	} {
		if bad {
			return name
		}
	}
	return ""
}

func TestNext_graceStandsStill(t *testing.T) {
	t.Parallel()
	v := inStatus(Frozen)
	v, _, _ = v.Next(TransitionParams{Action: Suspend, Reason: "abuse"}, noon.AddDate(0, 0, 10))
	v, _, err := v.Next(TransitionParams{Action: Resume}, noon.AddDate(0, 0, 50))
	if err != nil || !v.ArchiveDueAt.Equal(noon.AddDate(0, 0, 70)) {
		t.Errorf("archived on %v, want 30 days of grace outside the 40 of suspension; %v", v.ArchiveDueAt, err)
	}
}

func TestNext_contractEnd(t *testing.T) {
	t.Parallel()
	v := inStatus(Frozen)
	v.ContractEnd = dateOf(new(noon.AddDate(0, 0, -1)))
	if _, _, err := v.Next(TransitionParams{Action: Reactivate}, noon); err == nil || fault.As(err).Fields[0].Code != "in_the_past" {
		t.Errorf("reactivated under a contract that is over: %v", err)
	}
	v, _, err := v.Next(TransitionParams{Action: Reactivate, ContractEnd: new(noon)}, noon)
	if err != nil {
		t.Fatal("today is the last day of the contract:", err)
	}
	if _, due := v.byClock(noon.Add(12*time.Hour - 1)); due {
		t.Error("froze before the last day was over")
	}
	if p, due := v.byClock(noon.Add(12 * time.Hour)); !due || p.Action != Freeze || p.Reason != contractEnded {
		t.Errorf("did not freeze after the last day: %+v", p)
	}
}

func TestNext_cancelAtEnd(t *testing.T) {
	t.Parallel()
	v := inStatus(Active)
	if _, _, err := v.Next(TransitionParams{Action: Cancel, AtEnd: true}, noon); err == nil || fault.As(err).Fields[0].Code != "no_end" {
		t.Errorf("cancelled at an end that there is not: %v", err)
	}
	v.ContractEnd = dateOf(new(noon.AddDate(0, 1, 0)))
	v, _, err := v.Next(TransitionParams{Action: Cancel, AtEnd: true, Reason: "too dear"}, noon)
	if err != nil || v.Status != Active || v.CancelledAt == nil || v.CancelReason != "too dear" {
		t.Fatalf("%+v %v", v, err)
	}
	if _, _, err := v.Next(TransitionParams{Action: Cancel, AtEnd: true}, noon); fault.CodeOf(err) != "already_cancelled" {
		t.Errorf("cancelled twice: %v", err)
	}
	back, _, err := v.Next(TransitionParams{Action: Reactivate}, noon)
	if err != nil || back.CancelledAt != nil || back.Status != Active {
		t.Errorf("notice taken back: %+v %v", back, err)
	}
	p, _ := v.byClock(noon.AddDate(0, 1, 1))
	if p.Reason != cancelledWas {
		t.Errorf("frozen because %q", p.Reason)
	}
	v, _, _ = v.Next(p, noon.AddDate(0, 1, 1))
	if v.Status != Frozen || v.CancelReason != "too dear" {
		t.Errorf("the notice is forgotten: %+v", v)
	}
}

func TestEffective(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ own, above, want Status }{
		{Active, "", Active},
		{Trial, Active, Trial},
		{Active, Demo, Active},
		{Active, Frozen, Frozen},
		{Frozen, Suspended, Suspended},
		{Suspended, Frozen, Suspended},
		{Archived, Suspended, Archived},
	} {
		if got := (Tenant{Status: tc.own, Inherited: tc.above}).Effective(); got != tc.want {
			t.Errorf("%s below %s: got %s, want %s", tc.own, tc.above, got, tc.want)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	ok := func() Tenant { return Tenant{Name: "Acme", Slug: "acme", Kind: KindCustomer, Plan: "starter"} }
	metadata := func(n int) map[string]any {
		m := map[string]any{}
		for i := range n {
			m[fmt.Sprint("k", i)] = "v"
		}
		return m
	}
	for name, tc := range map[string]struct {
		change func(*Tenant)
		want   string // field:code, "" is fine
	}{
		"plain":              {func(*Tenant) {}, ""},
		"no name":            {func(v *Tenant) { v.Name = " \t" }, "name:required"},
		"longest name":       {func(v *Tenant) { v.Name = strings.Repeat("ü", 200) }, ""},
		"name too long":      {func(v *Tenant) { v.Name = strings.Repeat("ü", 201) }, "name:too_long"},
		"name with newline":  {func(v *Tenant) { v.Name = "a\nb" }, "name:invalid_text"},
		"name with NUL":      {func(v *Tenant) { v.Name = "a\x00b" }, "name:invalid_text"},
		"name not UTF-8":     {func(v *Tenant) { v.Name = "a\xff" }, "name:invalid_text"},
		"slug too short":     {func(v *Tenant) { v.Slug = "ab" }, "slug:slug_malformed"},
		"slug leading dash":  {func(v *Tenant) { v.Slug = "-acme" }, "slug:slug_malformed"},
		"slug trailing dash": {func(v *Tenant) { v.Slug = "acme-" }, "slug:slug_malformed"},
		"slug upper case":    {func(v *Tenant) { v.Slug = "Acme" }, "slug:slug_malformed"},
		"slug underscore":    {func(v *Tenant) { v.Slug = "ac_me" }, "slug:slug_malformed"},
		"slug newline":       {func(v *Tenant) { v.Slug = "acme\n" }, "slug:slug_malformed"},
		"longest slug":       {func(v *Tenant) { v.Slug = strings.Repeat("a", 40) }, ""},
		"slug too long":      {func(v *Tenant) { v.Slug = strings.Repeat("a", 41) }, "slug:slug_malformed"},
		"kind unknown":       {func(v *Tenant) { v.Kind = "friend" }, "kind:not_one_of"},
		"e-mail":             {func(v *Tenant) { v.ContactEmail = "ops@acme.example" }, ""},
		"e-mail with name":   {func(v *Tenant) { v.ContactEmail = "Ops <ops@acme.example>" }, "contact_email:email_malformed"},
		"e-mail without @":   {func(v *Tenant) { v.BillingEmail = "acme.example" }, "billing_email:email_malformed"},
		"origin": {func(v *Tenant) {
			v.AllowedOrigins = []string{"https://app.acme.example", "http://localhost:3000", "http://[::1]:3000"}
		}, ""},
		"origin with path":    {func(v *Tenant) { v.AllowedOrigins = []string{"https://app.acme.example/"} }, "allowed_origins:origin_malformed"},
		"origin any":          {func(v *Tenant) { v.AllowedOrigins = []string{"*"} }, "allowed_origins:origin_malformed"},
		"origin null":         {func(v *Tenant) { v.AllowedOrigins = []string{"null"} }, "allowed_origins:origin_malformed"},
		"origin script":       {func(v *Tenant) { v.AllowedOrigins = []string{"javascript:alert(1)"} }, "allowed_origins:origin_malformed"},
		"origin user":         {func(v *Tenant) { v.AllowedOrigins = []string{"https://a@b.example"} }, "allowed_origins:origin_malformed"},
		"origin port":         {func(v *Tenant) { v.AllowedOrigins = []string{"https://b.example:99999"} }, "allowed_origins:origin_malformed"},
		"origin query":        {func(v *Tenant) { v.AllowedOrigins = []string{"https://b.example?"} }, "allowed_origins:origin_malformed"},
		"origin fragment":     {func(v *Tenant) { v.AllowedOrigins = []string{"https://b.example#"} }, "allowed_origins:origin_malformed"},
		"origin header trick": {func(v *Tenant) { v.AllowedOrigins = []string{"https://b.example\r\nX: y"} }, "allowed_origins:origin_malformed"},
		"50 keys":             {func(v *Tenant) { v.Metadata = metadata(50) }, ""},
		"51 keys":             {func(v *Tenant) { v.Metadata = metadata(51) }, "metadata:too_many"},
		"key malformed":       {func(v *Tenant) { v.Metadata = map[string]any{"a b": 1} }, "metadata:key_malformed"},
		"key too long":        {func(v *Tenant) { v.Metadata = map[string]any{strings.Repeat("k", 65): 1} }, "metadata:key_malformed"},
		"metadata too large":  {func(v *Tenant) { v.Metadata = map[string]any{"k": strings.Repeat("v", 16<<10)} }, "metadata:too_large"},
		"contract backwards": {func(v *Tenant) {
			v.ContractStart, v.ContractEnd = new(noon), new(noon.AddDate(0, 0, -1))
		}, "contract_end:before_start"},
		"contract of a day": {func(v *Tenant) { v.ContractStart, v.ContractEnd = new(noon), new(noon) }, ""},
	} {
		v := ok()
		tc.change(&v)
		v.normalize()
		var got []string
		for _, f := range v.validate() {
			got = append(got, f.Field+":"+f.Code)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: got %v, want %q", name, got, tc.want)
		}
	}
}

func TestNormalize(t *testing.T) {
	t.Parallel()
	v := Tenant{Name: " Acme ", AllowedOrigins: []string{"HTTPS://App.Acme.Example:443", "https://app.acme.example", "http://x.example:8080"}}
	v.normalize()
	want := []string{"https://app.acme.example", "http://x.example:8080"}
	if v.Name != "Acme" || !slices.Equal(v.AllowedOrigins, want) || v.Metadata == nil {
		t.Errorf("%+v", v)
	}
}

func TestSlugOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"Acme Corp.": "acme-corp", "  ACME  ": "acme", "Ünïcode GmbH": "n-code-gmbh", "日本": "", "ab": "", "": "",
		strings.Repeat("long name ", 9): "long-name-long-name-long-name-long-name",
	} {
		if got := slugOf(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestMergeMetadata(t *testing.T) {
	t.Parallel()
	// The examples of RFC 7396, appendix A, that are objects.
	type m = map[string]any
	for _, tc := range []struct{ dst, patch, want m }{
		{m{"a": "b"}, m{"a": "c"}, m{"a": "c"}},
		{m{"a": "b"}, m{"b": "c"}, m{"a": "b", "b": "c"}},
		{m{"a": "b"}, m{"a": nil}, m{}},
		{m{"a": "b", "b": "c"}, m{"a": nil}, m{"b": "c"}},
		{m{"a": []any{"b"}}, m{"a": "c"}, m{"a": "c"}},
		{m{"a": m{"b": "c"}}, m{"a": m{"b": "d", "c": nil}}, m{"a": m{"b": "d"}}},
		{m{"e": nil}, m{"a": 1}, m{"e": nil, "a": 1}},
		{m{}, m{"a": m{"bb": m{"ccc": nil}}}, m{"a": m{"bb": m{}}}},
	} {
		if diff := cmp.Diff(tc.want, mergeMetadata(tc.dst, tc.patch)); diff != "" {
			t.Errorf("%v + %v:\n%s", tc.dst, tc.patch, diff)
		}
	}
}

func TestParseRef(t *testing.T) {
	t.Parallel()
	v := id.New[id.Tenant]()
	for in, want := range map[string]Ref{
		v.String(): {ID: v}, v.UUID(): {ID: v}, "slug:acme": {Slug: "acme"},
	} {
		if got, err := ParseRef(in); err != nil || got != want {
			t.Errorf("%s: got %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "acme", "slug:", "slug:A", "tenant_", "key_" + v.String()[7:], v.UUID() + "0", "00000000-0000-0000-0000-000000000000"} {
		if _, err := ParseRef(in); err == nil || fault.As(err).Fields[0].Code != "id_malformed" {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"slug:acme", "tenant_01h455vb4pex5vsknk084sn02q", "00000000-0000-0000-0000-000000000001", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRef(s)
		if err != nil {
			return
		}
		if again, err := ParseRef(r.String()); err != nil || again != r {
			t.Errorf("%q reads as %v and writes as %q", s, r, r)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	for _, s := range []string{"https://app.example.com", "http://[::1]:80", "https://b.example:0443", "http://a:b@c", "https://%41.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, ok := origin(s)
		if !ok {
			return
		}
		if again, ok := origin(o); !ok || again != o {
			t.Errorf("%q gives %q, which gives %q", s, o, again)
		}
		if strings.ContainsAny(o, " \r\n\t,*/\\?#@") && strings.Count(o, "/") != 2 {
			t.Errorf("%q gives %q", s, o)
		}
	})
}

// TestDocs holds the table of docs/tenants.md to the one that is in force.
func TestDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/tenants.md")
	if err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for line := range strings.SplitSeq(string(page), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 8 || !strings.Contains(cells[6], "`tenant.") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		got = append(got, cells[1:7])
	}
	if len(got) != len(table) {
		t.Fatalf("docs/tenants.md has %d transitions, the table %d", len(got), len(table))
	}
	for i, r := range table {
		var from []string
		for _, s := range r.From {
			from = append(from, string(s))
		}
		reason, who := "", "any"
		if r.Reason {
			reason = "needed"
		}
		if r.Platform {
			who = "platform"
		}
		if r.Timed {
			who += ", clock"
		}
		want := []string{"`" + string(r.Action) + "`", strings.Join(from, ", "), got[i][2], reason, who, "`" + r.Event + "`"}
		if r.To != "" {
			want[2] = string(r.To)
		}
		if diff := cmp.Diff(want, got[i]); diff != "" {
			t.Errorf("docs/tenants.md says something else about %s (-want +got):\n%s", r.Action, diff)
		}
	}
}
