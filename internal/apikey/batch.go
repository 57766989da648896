package apikey

import (
	"context"
	"errors"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/secret"
)

// MaxBatch is the most questions of one batch.
const MaxBatch = 1000

// Question is one of a batch.
type Question struct {
	VerifyParams

	// Wrong is why a face could not read the question; that is its answer.
	Wrong error
}

// Answer is what a batch answers to one of its questions.
type Answer struct {
	Verification

	Err error // why there is no verification
}

// CheckAll answers many questions, in their order and each as Check would: one
// that can't be answered spoils no other, and a key that is asked about twice
// spends and counts twice. What memory does not know is read with one statement
// for all of them, and one more for the projects that they name. Only what begins
// as keys with slow hashes do is then looked for one by one.
//
// Its error says that nothing was answered, and nothing spent.
func (v *Verifier) CheckAll(ctx context.Context, questions []Question) ([]Answer, error) {
	var f fault.Fields
	f.Check(len(questions) > 0, "items", "too_few", "There is nothing to verify.")
	f.Check(len(questions) <= MaxBatch, "items", "too_many", "A batch has at most %d questions.", MaxBatch)
	if err := f.Err(); err != nil {
		return nil, err
	}
	b := batch{v: v, questions: questions, answers: make([]Answer, len(questions)), keys: make([]*entry, len(questions)), missing: map[secret.Sum]*missing{}}
	b.recall()
	if err := b.load(ctx); err != nil {
		return nil, err
	}
	if err := b.loadProjects(ctx); err != nil {
		return nil, err
	}
	for i := range questions {
		a := &b.answers[i]
		if a.Err == nil && a.Outcome == "" {
			a.Verification, a.Err = v.decide(ctx, b.keys[i], &questions[i].VerifyParams)
		}
	}
	return b.answers, nil
}

// batch is a batch under way.
type batch struct {
	v         *Verifier
	questions []Question
	answers   []Answer
	keys      []*entry // in step with the questions
	missing   map[secret.Sum]*missing
}

// missing is a token that memory does not know, and the questions about it.
type missing struct {
	token string
	asked []int
	key   *entry
}

// recall answers what needs no look-up, and gathers what does.
func (b *batch) recall() {
	for i := range b.questions {
		q, a := &b.questions[i], &b.answers[i]
		if a.Err = q.Wrong; a.Err == nil {
			a.Err = q.Validate()
		}
		if a.Err != nil {
			continue
		}
		sum, e, found := b.v.recall(q.Token)
		switch found {
		case malformed:
			a.Outcome = Malformed
		case unknown:
			m := b.missing[sum]
			if m == nil {
				m = &missing{token: q.Token}
				b.missing[sum] = m
			}
			m.asked = append(m.asked, i)
		case known, absent:
			b.keys[i] = e
		}
	}
}

// load reads all keys that memory does not know.
func (b *batch) load(ctx context.Context) error {
	if len(b.missing) == 0 {
		return nil
	}
	v := b.v
	v.misses.Add(uint64(len(b.missing)))
	var stored []string
	of := map[string]secret.Sum{}
	for sum, m := range b.missing {
		for _, d := range v.digests(m.token) {
			stored, of[d] = append(stored, d), sum
		}
	}
	seq := v.gens.last.Load() // before the statement: see generations
	var rows []row
	err := b.lookUp(ctx, func(ctx context.Context) (err error) {
		rows, err = selectVerifications(ctx, v.db, stored)
		return err
	})
	if err != nil {
		return err
	}
	for i := range rows {
		sum := of[rows[i].Hash]
		if m := b.missing[sum]; m.key == nil { // of two keys of one token the older counts
			m.key = v.keep(sum, m.token, &rows[i], seq)
		}
	}
	for sum, m := range b.missing {
		if m.key == nil {
			if err := b.loadSlow(ctx, sum, m, seq); err != nil {
				return err
			}
		}
		for _, i := range m.asked {
			b.keys[i] = m.key
		}
	}
	return nil
}

// loadSlow looks for a token among the keys with slow hashes that begin as it does,
// of which there are mostly none. That too many wait for such checks is the answer
// to the questions about this one; without the database there is none to any.
func (b *batch) loadSlow(ctx context.Context, sum secret.Sum, m *missing, seq uint64) (err error) {
	begins := b.v.forms.slow(m.token)
	if len(begins) == 0 {
		b.v.absent.Set(sum, seq)
		return nil
	}
	m.key, err = b.v.lookupSlow(ctx, sum, m.token, begins)
	if !errors.Is(err, errSlowBusy) {
		return err
	}
	for _, i := range m.asked {
		b.answers[i].Err = err
	}
	return nil
}

// loadProjects reads all projects that the questions name, where it matters and
// memory does not know them.
func (b *batch) loadProjects(ctx context.Context) error {
	v := b.v
	named := map[id.Project][]*VerifyParams{}
	for i, e := range b.keys {
		p := &b.questions[i].VerifyParams
		if e == nil || p.Project.IsZero() || !e.project.IsZero() {
			continue
		}
		if known, ok := v.rememberedProject(p.Project); ok {
			p.named = known
			continue
		}
		named[p.Project] = append(named[p.Project], p)
	}
	if len(named) == 0 {
		return nil
	}
	ids := make([]id.Project, 0, len(named))
	for project := range named {
		ids = append(ids, project)
	}
	seq := v.gens.last.Load()
	var there []namedProject
	err := b.lookUp(ctx, func(ctx context.Context) (err error) {
		there, err = selectNamedProjects(ctx, v.db, ids)
		return err
	})
	if err != nil {
		return err
	}
	found := map[id.Project]namedProject{}
	for _, p := range there {
		found[p.ID] = p
	}
	for project, params := range named {
		e := v.keepProject(project, found[project].Tenant, found[project].Archived, seq)
		for _, p := range params {
			p.named = e
		}
	}
	return nil
}

// lookUp sends a statement, which takes its turn among those of other look-ups.
func (b *batch) lookUp(ctx context.Context, statement func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	select {
	case b.v.lookups <- struct{}{}:
		defer func() { <-b.v.lookups }()
	case <-ctx.Done():
		return gone(ctx.Err())
	}
	b.v.reads.Add(1)
	return statement(ctx)
}
