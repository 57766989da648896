package apikey

import (
	"net/netip"
	"reflect"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/landlordhq/landlord/internal/id"
)

// Entries share what their rows have alike, and nothing else: whatever differs in a row, now or in a column that comes to it
// later, makes a value of its own.
func TestInterned_sharesEqualsOnly(t *testing.T) {
	t.Parallel()
	var v views
	until := time.Now()
	full := row{
		settingsRow: settingsRow{
			ProjectID: id.New[id.Project](), Product: "render", Environment: Live, Scopes: []string{"a:b"},
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, RateLimitRPM: 1, RateLimits: "[]", PolicyAllows: true,
		},
		tenantRow: tenantRow{
			TenantID: id.New[id.Tenant](), TenantSlug: "acme", Ancestors: []id.Tenant{id.New[id.Tenant]()}, TenantStatus: "active",
			PolicyNetworks: []string{"192.0.2.0/24"},
			Products:       []string{"render"}, ProductsUntil: []*time.Time{&until}, ProductsConfig: []string{"{}"}, ProductsDefault: []string{"{}"},
			ProductsLimits: []string{"[]"}, PlanLimits: []string{"[]"}, TenantLimits: "[]",
		},
	}
	again := full
	later := until.Round(0) // another pointer to the same instant
	again.ProductsUntil = []*time.Time{&later}
	a, b := v.newEntry(&full, 1), v.newEntry(&again, 2)
	if a.settings != b.settings || a.tenantView != b.tenantView {
		t.Error("equal rows share nothing")
	}
	if a.read != 1 || b.read != 2 {
		t.Error("entries share when they were read")
	}
	parts := 0
	for _, part := range []string{"settingsRow", "tenantRow"} {
		kind := reflect.ValueOf(&full).Elem().FieldByName(part).Type()
		for column := range kind.Fields() {
			other := full
			f := reflect.ValueOf(&other).Elem().FieldByName(column.Name)
			switch {
			case f.Kind() == reflect.Slice && f.Len() > 0:
				f.Set(reflect.AppendSlice(f, f))
			case f.Kind() == reflect.Slice:
				f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			case f.IsZero() && f.Kind() == reflect.Bool:
				f.SetBool(true)
			default:
				f.SetZero()
			}
			made := v.settings.of(other.settingsRow, func() *settings { return &settings{} })
			seen := v.tenants.of(other.tenantRow, func() *tenantView { return &tenantView{} })
			if (made == a.settings) == (seen == a.tenantView) {
				t.Errorf("%s tells no rows apart, or is in both parts", column.Name)
			}
			parts++
		}
	}
	if parts < 20 {
		t.Errorf("%d columns were looked at", parts)
	}
	runtime.KeepAlive(a)
	runtime.KeepAlive(b)
}

// What nobody holds any more is forgotten, and made anew when it is asked for.
func TestInterned_forgets(t *testing.T) {
	t.Parallel()
	var in interned[[64]int]
	held := in.of("held", func() *[64]int { return new([64]int) })
	for i := range 1000 {
		in.of(i, func() *[64]int { return new([64]int) })
	}
	size := func() int {
		in.mu.Lock()
		defer in.mu.Unlock()
		return len(in.by)
	}
	for deadline := time.Now().Add(10 * time.Second); size() > 1; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d values are left", size())
		}
		runtime.GC()
	}
	if in.of("held", func() *[64]int { return nil }) != held {
		t.Error("what is held was forgotten")
	}
	made := false
	in.of(1, func() *[64]int { made = true; return new([64]int) })
	if !made {
		t.Error("what was forgotten is still there")
	}
}

// Many ask for the same at once and while it is forgotten: all that hold it at a time hold one.
func TestInterned_races(t *testing.T) {
	t.Parallel()
	var in interned[int]
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 500 {
				a := in.of(i%3, func() *int { return new(i % 3) })
				b := in.of(i%3, func() *int { return new(i % 3) })
				if a != b || *a != i%3 {
					t.Errorf("%v and %v stand for %d", a, b, i%3)
				}
				if i%100 == 0 {
					runtime.GC()
				}
			}
		})
	}
	all.Wait()
}

// Uses that are counted while a flush takes what there is are in one of the flushes, each once.
func TestUse_countedWhileTaken(t *testing.T) {
	t.Parallel()
	const each, callers = 5000, 4
	var v views
	u := usage{}
	e := v.newEntry(&row{ID: id.New[id.APIKey]()}, 0)
	var callersDone sync.WaitGroup
	for range callers {
		callersDone.Go(func() {
			for range each {
				u.note(e, time.Now(), netip.Addr{})
			}
		})
	}
	done := make(chan struct{})
	go func() {
		callersDone.Wait()
		close(done)
	}()
	var total int64
	flushes := 0
	take := func() {
		u.mu.Lock()
		pending := u.pending
		u.pending = nil
		u.mu.Unlock()
		for _, k := range pending {
			total += k.take().count
			flushes++
		}
	}
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		take()
	}
	if total != each*callers {
		t.Errorf("%d of %d uses were taken, by %d records", total, each*callers, flushes)
	}
	if e.use.Load() != nil {
		t.Error("an entry keeps a record of nothing")
	}
}
