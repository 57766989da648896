package tenant

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
)

// Action is something done to a tenant's lifecycle.
type Action string

// The actions.
const (
	Activate   Action = "activate"
	Freeze     Action = "freeze"
	Cancel     Action = "cancel"
	Reactivate Action = "reactivate"
	Suspend    Action = "suspend"
	Resume     Action = "resume"
	Archive    Action = "archive"
	Restore    Action = "restore"
	Hold       Action = "hold"    // set a legal hold
	Release    Action = "release" // clear it
	Delete     Action = "delete"
)

// The stays of the lifecycle.
const (
	Grace        = 30 * 24 * time.Hour // how long a frozen tenant may be read before it is archived
	ExportWindow = 90 * 24 * time.Hour // how long an archived tenant can be restored before it may be purged
)

// Transition is a row of the lifecycle's table.
type Transition struct {
	Action   Action
	From     []Status
	To       Status // "": stated by the action's effect, or no change
	Event    string // action of the audit record and type of the event
	Reason   bool   // a reason must be given
	Platform bool   // only by the platform's own credentials
	Timed    bool   // also by the clock

	when   func(Tenant) bool                                // more that must hold; nil: nothing
	effect func(*Tenant, TransitionParams, time.Time) error // what else changes; nil: nothing
}

var every = Statuses()

// table is the lifecycle: what is not a row here can't happen. enter sets what
// belongs to a status; an effect adds what belongs to the action.
var table = []Transition{
	{Action: Activate, From: []Status{Trial}, To: Active, Event: "tenant.activated", effect: setContractEnd},
	{Action: Freeze, From: []Status{Trial, Active}, To: Frozen, Event: "tenant.frozen", Reason: true, Timed: true},
	{Action: Cancel, From: []Status{Trial, Active}, Event: "tenant.cancelled", effect: cancel},
	{Action: Reactivate, From: []Status{Frozen}, To: Active, Event: "tenant.reactivated", effect: setContractEnd},
	{Action: Reactivate, From: []Status{Trial, Active}, Event: "tenant.reactivated", when: cancelled, effect: uncancel},
	{Action: Suspend, From: []Status{Trial, Active, Frozen}, To: Suspended, Event: "tenant.suspended", Reason: true},
	{Action: Resume, From: []Status{Suspended}, Event: "tenant.resumed", effect: resume},
	{Action: Archive, From: []Status{Demo, Frozen, Suspended}, To: Archived, Event: "tenant.archived", Reason: true, Timed: true},
	{Action: Restore, From: []Status{Archived}, Event: "tenant.restored", effect: restore},
	{Action: Hold, From: every, Event: "tenant.legal_hold_set", Reason: true, Platform: true, when: notHeld, effect: hold},
	{Action: Release, From: every, Event: "tenant.legal_hold_cleared", Platform: true, when: held, effect: release},
	{Action: Delete, From: []Status{Archived}, Event: "tenant.deleted", Platform: true, when: notHeld, effect: remove},
}

// Transitions returns the table, for documents and faces.
func Transitions() []Transition { return slices.Clone(table) }

// Actions lists the actions, in the order of a life.
func Actions() []Action {
	var out []Action
	for _, r := range table {
		if !slices.Contains(out, r.Action) {
			out = append(out, r.Action)
		}
	}
	return out
}

// TransitionParams says what to do and why.
type TransitionParams struct {
	Action Action
	Reason string
	// AtEnd cancels at the end of the contract or trial instead of now.
	AtEnd bool
	// ContractEnd is the new contract's last day, with Activate and Reactivate. It
	// must be given when the old one's is over, for else the tenant would freeze
	// again at once.
	ContractEnd *time.Time
}

func (p TransitionParams) validate() error {
	var f fault.Fields
	f.Check(utf8.RuneCountInString(p.Reason) <= maxReason, "reason", "too_long", "At most %d characters.", maxReason)
	f.Check(!p.AtEnd || p.Action == Cancel, "at_end", "not_applicable", "Only cancel can wait for the end.")
	f.Check(p.ContractEnd == nil || p.Action == Activate || p.Action == Reactivate, "contract_end", "not_applicable", "Only activate and reactivate take a new end of the contract.")
	return f.Err()
}

// Allowed lists what can be done to the tenant now.
func (t Tenant) Allowed() []Action {
	out := []Action{}
	for _, r := range table {
		if r.applies(t) && !slices.Contains(out, r.Action) {
			out = append(out, r.Action)
		}
	}
	return out
}

func (r Transition) applies(t Tenant) bool {
	switch {
	case t.ID == id.InternalTenant: // the platform itself is always there
		return false
	case t.DeletedAt != nil && r.Action != Restore:
		return false
	default:
		return slices.Contains(r.From, t.Status) && (r.when == nil || r.when(t))
	}
}

// Next returns the tenant as it is after an action, and the row of the table
// that says so. It decides everything about a transition but who may ask for it.
func (t Tenant) Next(p TransitionParams, now time.Time) (Tenant, Transition, error) {
	i := slices.IndexFunc(table, func(r Transition) bool { return r.Action == p.Action && r.applies(t) })
	if i < 0 {
		return t, Transition{}, t.illegal(p.Action)
	}
	r := table[i]
	p.Reason = strings.TrimSpace(p.Reason)
	if r.Reason && p.Reason == "" {
		return t, r, fault.InvalidField("reason", "required", "Say why: the reason is kept in the audit log.")
	}
	next := t
	if r.To != "" {
		next.enter(r.To, p.Reason, now)
	}
	if r.effect != nil {
		if err := r.effect(&next, p, now); err != nil {
			return t, r, err
		}
	}
	return next, r, nil
}

func (t Tenant) illegal(a Action) error {
	state := "The tenant is " + string(t.Status)
	if t.DeletedAt != nil {
		state = "The tenant is deleted"
	}
	if t.LegalHold && a == Delete {
		state += " and under legal hold"
	}
	var allowed []string
	for _, a := range t.Allowed() {
		allowed = append(allowed, string(a))
	}
	if allowed == nil {
		allowed = []string{"nothing"}
	}
	return fault.Conflict("illegal_transition", "%s, which does not allow %s. Allowed now: %s.", state, a, strings.Join(allowed, ", "))
}

// enter puts the tenant into a status: it sets the stamps of that status and
// clears those of the one it leaves.
func (t *Tenant) enter(s Status, reason string, now time.Time) {
	now = now.UTC()
	before := t.Status
	t.Status = s
	if s == Suspended {
		t.StatusBeforeSuspension, t.SuspendedAt, t.SuspensionReason = before, &now, reason
		return // what it was stays as it was, for resume
	}
	t.StatusBeforeSuspension, t.SuspendedAt, t.SuspensionReason = "", nil, ""
	switch s {
	case Frozen:
		t.FrozenAt, t.FreezeReason, t.ArchiveDueAt = &now, reason, new(now.Add(Grace))
		t.ArchivedAt, t.PurgeDueAt = nil, nil
	case Archived:
		t.ArchivedAt, t.PurgeDueAt, t.ArchiveDueAt = &now, new(now.Add(ExportWindow)), nil
	default:
		t.FrozenAt, t.FreezeReason, t.ArchiveDueAt = nil, "", nil
		t.ArchivedAt, t.PurgeDueAt = nil, nil
		t.CancelledAt, t.CancelReason = nil, ""
	}
}

func cancelled(t Tenant) bool { return t.CancelledAt != nil }
func held(t Tenant) bool      { return t.LegalHold }
func notHeld(t Tenant) bool   { return !t.LegalHold }

// setContractEnd begins a contract anew, or refuses to go on under one that is over.
func setContractEnd(t *Tenant, p TransitionParams, now time.Time) error {
	if p.ContractEnd != nil {
		t.ContractEnd = dateOf(p.ContractEnd)
		if t.ContractStart != nil && t.ContractEnd.Before(*t.ContractStart) {
			return fault.InvalidField("contract_end", "before_start", "The contract can't end before it starts.")
		}
	}
	if end := contractOver(t.ContractEnd); end != nil && !now.Before(*end) {
		return fault.InvalidField("contract_end", "in_the_past", "The contract ended on %s: give the day on which the new one ends.", t.ContractEnd.Format(time.DateOnly))
	}
	return nil
}

// contractOver is the first instant after a contract's last day.
func contractOver(end *time.Time) *time.Time {
	if end == nil {
		return nil
	}
	return new(end.AddDate(0, 0, 1))
}

// cancel freezes now, or notes that the tenant is to freeze when its trial or
// contract ends.
func cancel(t *Tenant, p TransitionParams, now time.Time) error {
	now = now.UTC()
	if p.AtEnd {
		if t.CancelledAt != nil {
			return fault.Conflict("already_cancelled", "The tenant is already cancelled, as of its end.")
		}
		if _, _, ok := t.ends(); !ok {
			return fault.InvalidField("at_end", "no_end", "The tenant has no end of a trial or contract: cancel now, or set contract_end first.")
		}
		t.CancelledAt, t.CancelReason = &now, p.Reason
		return nil
	}
	t.enter(Frozen, "cancelled", now)
	if t.CancelledAt == nil || p.Reason != "" {
		t.CancelReason = p.Reason
	}
	t.CancelledAt = &now
	return nil
}

func uncancel(t *Tenant, _ TransitionParams, _ time.Time) error {
	t.CancelledAt, t.CancelReason = nil, ""
	return nil
}

// resume gives back the status before the suspension. The grace of a frozen
// tenant stood still: its data could not be fetched.
func resume(t *Tenant, _ TransitionParams, now time.Time) error {
	t.Status = t.StatusBeforeSuspension
	if t.ArchiveDueAt != nil && t.SuspendedAt != nil {
		t.ArchiveDueAt = new(t.ArchiveDueAt.Add(max(0, now.Sub(*t.SuspendedAt))))
	}
	t.StatusBeforeSuspension, t.SuspendedAt, t.SuspensionReason = "", nil, ""
	return nil
}

// restore brings an archived tenant back, readable: reactivate makes it live.
func restore(t *Tenant, p TransitionParams, now time.Time) error {
	if t.Kind == KindDemo {
		t.enter(Demo, "", now)
	} else {
		reason := p.Reason
		if reason == "" {
			reason = "restored"
		}
		t.enter(Frozen, reason, now)
	}
	t.DeletedAt = nil
	return nil
}

func hold(t *Tenant, p TransitionParams, _ time.Time) error {
	t.LegalHold, t.LegalHoldReason = true, p.Reason
	return nil
}

func release(t *Tenant, _ TransitionParams, _ time.Time) error {
	t.LegalHold, t.LegalHoldReason = false, ""
	return nil
}

func remove(t *Tenant, _ TransitionParams, now time.Time) error {
	t.DeletedAt = new(now.UTC())
	return nil
}

// The reasons that the clock gives.
const (
	trialEnded    = "trial ended"
	contractEnded = "contract ended"
	graceOver     = "grace period over"
	cancelledWas  = "cancelled"
)

// ends returns when a live tenant freezes by itself and why; ok is false for
// one that does not.
func (t Tenant) ends() (at time.Time, reason string, ok bool) {
	switch {
	case t.Kind == KindDemo || t.ID == id.InternalTenant:
		return at, "", false
	case t.Status == Trial && t.TrialEndsAt != nil:
		at, reason = *t.TrialEndsAt, trialEnded
	case t.Status == Active && t.ContractEnd != nil:
		at, reason = *contractOver(t.ContractEnd), contractEnded
	default:
		return at, "", false
	}
	if t.CancelledAt != nil {
		reason = cancelledWas
	}
	return at, reason, true
}

// byClock returns what the clock does to the tenant at an instant, if anything.
func (t Tenant) byClock(now time.Time) (TransitionParams, bool) {
	if at, reason, ok := t.ends(); ok && !now.Before(at) {
		return TransitionParams{Action: Freeze, Reason: reason}, true
	}
	if t.Status == Frozen && t.ArchiveDueAt != nil && !now.Before(*t.ArchiveDueAt) {
		return TransitionParams{Action: Archive, Reason: graceOver}, true
	}
	return TransitionParams{}, false
}

// mayTransition says whether a principal may take a tenant through a row of the
// table, beyond its permission.
func mayTransition(p access.Principal, t Tenant, r Transition) error {
	switch {
	case p.Platform():
		return nil
	case r.Platform:
		return fault.New(fault.Forbidden, "platform_only", "Only the platform's own credentials may do this.")
	case p.Tenant == t.ID:
		return fault.New(fault.Forbidden, "own_lifecycle", "A tenant's own credential can't change its lifecycle.")
	case t.StatusLocked:
		return fault.New(fault.Forbidden, "status_locked", "The platform put this tenant into its status: only the platform can change it.")
	}
	// A frozen or suspended reseller can't act on those below it either.
	return access.CheckWritable(string(t.Inherited), p)
}

// lock notes whether the platform itself put the tenant into its status; the
// clock is nobody's decision and changes nothing about it.
func (t *Tenant) lock(who access.Principal, before Tenant) {
	switch {
	case t.Status == before.Status:
	case t.Status.Live():
		t.StatusLocked = false
	case who.Platform() && who.Type != access.System:
		t.StatusLocked = true
	}
}
