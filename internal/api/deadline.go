package api

import (
	"context"
	"sync"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/ratelimit"
	"github.com/landlordhq/landlord/internal/telemetry"
)

// deadline is the context of a request. It is what context.WithTimeout makes, but
// starts its timer only when somebody waits for its end: most verifications are
// answered from memory and wait for nobody, and a timer costs them more than the
// answer. It carries what is known of the call, too, which would else take a
// context each.
type deadline struct {
	context.Context // the connection's

	call  *call
	until time.Time // on the monotonic clock

	once   sync.Once
	inner  context.Context // set by once, with the timer
	cancel context.CancelFunc
}

func (d *deadline) start() context.Context {
	d.once.Do(func() { d.inner, d.cancel = context.WithDeadline(d.Context, d.until) })
	return d.inner
}

// stop ends what was begun with the context. Who asks only after it finds it over.
func (d *deadline) stop() {
	d.once.Do(func() { d.inner, d.cancel = over, func() {} })
	d.cancel()
}

// over is a context that has ended.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func (d *deadline) Deadline() (time.Time, bool) { return d.until, true }

func (d *deadline) Done() <-chan struct{} { return d.start().Done() }

func (d *deadline) Err() error { return d.start().Err() }

func (d *deadline) Value(key any) any {
	switch key.(type) {
	case callKey:
		return d.call
	case telemetry.RequestIDKey:
		return d.call.id
	case access.OriginKey:
		return &d.call.from
	case ratelimit.ReportKey:
		return &d.call.limits
	case access.PrincipalKey:
		if d.call.who.ID != "" {
			return &d.call.who
		}
	}
	return d.Context.Value(key)
}
