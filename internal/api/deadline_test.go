package api

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/telemetry"
)

func newDeadline(ctx context.Context, after time.Duration) *deadline {
	c := &call{id: "request"}
	c.ctx = deadline{Context: ctx, call: c, until: time.Now().Add(after)}
	return &c.ctx
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDeadline(t.Context(), time.Second)
		if at, ok := d.Deadline(); !ok || time.Until(at) != time.Second || d.Err() != nil {
			t.Error(at, ok, d.Err())
		}
		began := time.Now()
		<-d.Done()
		if time.Since(began) != time.Second || !errors.Is(d.Err(), context.DeadlineExceeded) {
			t.Error(time.Since(began), d.Err())
		}
		d.stop()

		// Nobody waited while it ran out: who asks then is told so.
		d = newDeadline(t.Context(), time.Second)
		<-time.After(2 * time.Second)
		if !errors.Is(d.Err(), context.DeadlineExceeded) {
			t.Error(d.Err())
		}
		d.stop()

		parent, cancel := context.WithCancel(t.Context())
		d = newDeadline(parent, time.Second)
		child, stop := context.WithTimeout(d, time.Hour)
		defer stop()
		if at, _ := child.Deadline(); time.Until(at) != time.Second {
			t.Error(at)
		}
		cancel() // the caller left
		<-child.Done()
		if !errors.Is(d.Err(), context.Canceled) {
			t.Error(d.Err())
		}
		d.stop()
	})
}

// What outlives the request finds its context over; stopping never waits, however often.
func TestDeadline_stop(t *testing.T) {
	t.Parallel()
	d := newDeadline(t.Context(), time.Hour)
	d.stop()
	<-d.Done()
	if !errors.Is(d.Err(), context.Canceled) {
		t.Error(d.Err())
	}
	d = newDeadline(t.Context(), time.Hour)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { <-d.Done() })
		wg.Go(d.stop)
	}
	wg.Wait()
}

func TestDeadline_value(t *testing.T) {
	t.Parallel()
	type key struct{}
	d := newDeadline(context.WithValue(t.Context(), key{}, 1), time.Hour)
	defer d.stop()
	d.call.from = access.Origin{UserAgent: "agent"}
	if callOf(d) != d.call || telemetry.RequestID(d) != "request" || access.OriginOf(d).UserAgent != "agent" || d.Value(key{}) != 1 {
		t.Error(callOf(d), telemetry.RequestID(d), access.OriginOf(d), d.Value(key{}))
	}
	if who, ok := access.From(d); ok {
		t.Error(who)
	}
	d.call.who = access.Principal{ID: "operator"}
	if who, ok := access.From(d); !ok || who.ID != "operator" {
		t.Error(who, ok)
	}
	if who, _ := access.From(access.AsSystem(d, "loop")); who.ID != "loop" {
		t.Error(who)
	}
}
