package idempotency_test

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/idempotency"
	"github.com/landlordhq/landlord/internal/pg"
	"github.com/landlordhq/landlord/internal/pgtest"
	"github.com/landlordhq/landlord/internal/secret"
)

func newStore(t *testing.T, now func() time.Time) (*idempotency.Store, *pg.DB) {
	t.Helper()
	db := pgtest.New(t)
	return storeOn(t, db, now), db
}

func storeOn(t *testing.T, db *pg.DB, now func() time.Time) *idempotency.Store {
	t.Helper()
	text, err := secret.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := secret.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return idempotency.New(db, keys, now)
}

func request(t *testing.T) idempotency.Request {
	return idempotency.Request{Principal: "user:" + t.Name(), Key: "k-" + rand.Text(), Method: "POST", Path: "/v1/tenants", Body: []byte(`{"a":1}`)}
}

// mutate is a writing transaction of a request.
func mutate(ctx context.Context, db *pg.DB) error {
	return db.AsOperator(ctx, func(pg.Tx) error { return nil })
}

func TestBegin_replaysTheAnswer(t *testing.T) {
	t.Parallel()
	s, db := newStore(t, nil)
	r := request(t)
	claim, _, err := s.Begin(t.Context(), r)
	if err != nil || claim == nil {
		t.Fatal(claim, err)
	}
	ctx := claim.Context(t.Context())
	if err := mutate(ctx, db); err != nil {
		t.Fatal(err)
	}
	want := idempotency.Answer{Status: 201, Header: map[string]string{"Location": "/v1/tenants/x"}, Body: []byte(`{"token":"shown once"}`)}
	if err := claim.Finish(ctx, want); err != nil {
		t.Fatal(err)
	}
	claim, got, err := s.Begin(t.Context(), r)
	if err != nil || claim != nil {
		t.Fatal(claim, err)
	}
	if d := cmp.Diff(&want, got); d != "" {
		t.Error(d)
	}
	other := r
	other.Body = []byte(`{"a":2}`)
	if _, _, err := s.Begin(t.Context(), other); fault.CodeOf(err) != "idempotency_key_reused" {
		t.Errorf("another body: %v", err)
	}
	other = r
	other.Principal = "user:somebody else"
	if c, _, err := s.Begin(t.Context(), other); err != nil || c == nil {
		t.Errorf("another caller's key is another key: %v", err)
	}
}

func TestBegin_stateAfterADeath(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s, db := newStore(t, func() time.Time { return now })

	before, after := request(t), request(t)
	first, _, err := s.Begin(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	applied, _, err := s.Begin(t.Context(), after)
	if err != nil {
		t.Fatal(err)
	}
	if err := mutate(applied.Context(t.Context()), db); err != nil {
		t.Fatal(err)
	}
	// Both processes die here. While the claim holds, a repetition waits.
	for _, r := range []idempotency.Request{before, after} {
		if _, _, err := s.Begin(t.Context(), r); fault.CodeOf(err) != "idempotency_in_progress" {
			t.Errorf("a running request: %v", err)
		}
	}
	now = now.Add(2 * time.Minute)
	second, _, err := s.Begin(t.Context(), before)
	if err != nil || second == nil {
		t.Fatalf("a request that died before its commit may run again: %v", err)
	}
	if _, _, err := s.Begin(t.Context(), after); fault.CodeOf(err) != "idempotency_answer_lost" {
		t.Errorf("a request that died after its commit must not run again: %v", err)
	}
	// The first was only slow. Its transaction must not commit beside the second's.
	if err := mutate(first.Context(t.Context()), db); fault.CodeOf(err) != "idempotency_in_progress" {
		t.Errorf("a claim that was taken over committed: %v", err)
	}
	if err := mutate(second.Context(t.Context()), db); err != nil {
		t.Errorf("the second: %v", err)
	}
}

func TestFinish_freesTheKeyOfARefusedRequest(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t, nil)
	r := request(t)
	claim, _, err := s.Begin(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := claim.Finish(t.Context(), idempotency.Answer{Status: 422}); err != nil {
		t.Fatal(err)
	}
	r.Body = []byte(`{"a":"corrected"}`)
	if claim, _, err := s.Begin(t.Context(), r); err != nil || claim == nil {
		t.Errorf("nothing was done, so the key is free: %v", err)
	}
}

func TestBegin_oneOfManyRuns(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t, nil)
	r := request(t)
	var wg sync.WaitGroup
	results := make(chan error, 16)
	for range cap(results) {
		wg.Go(func() {
			c, _, err := s.Begin(t.Context(), r)
			if err == nil && c == nil {
				err = errors.New("neither a claim nor an error")
			}
			results <- err
		})
	}
	wg.Wait()
	close(results)
	won := 0
	for err := range results {
		switch {
		case err == nil:
			won++
		case fault.CodeOf(err) != "idempotency_in_progress":
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d requests were let through, want 1", won)
	}
}

func TestBegin_refusesBadKeys(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t, nil)
	for _, key := range []string{"", "a b", "é", string(make([]byte, 256)), "x\x00"} {
		r := request(t)
		r.Key = key
		if _, _, err := s.Begin(t.Context(), r); fault.CodeOf(err) != "idempotency_key_malformed" {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := storeOn(t, pgtest.Clone(t), func() time.Time { return now }) // a day later the others' claims are old too
	r := request(t)
	if _, _, err := s.Begin(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	now = now.Add(idempotency.Keep + time.Second)
	if n, err := s.Sweep(t.Context()); err != nil || n < 1 {
		t.Errorf("forgot %d, %v", n, err)
	}
	if c, _, err := s.Begin(t.Context(), r); err != nil || c == nil {
		t.Errorf("after a day the key is free: %v", err)
	}
}

func TestSQL_prepares(t *testing.T) {
	t.Parallel()
	pgtest.PrepareAll(t, ".")
}
