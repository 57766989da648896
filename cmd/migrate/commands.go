package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/landlordhq/landlord/migrations"
)

// job is what a command works with.
type job struct {
	ctx context.Context
	m   *migrations.Migrator
	log *slog.Logger
	out io.Writer
}

// done tells how far a run came, also when it then failed.
func (j *job) done(r migrations.Result, err error) error {
	switch {
	case r.From != r.To:
		j.log.Info("schema migrated", "from", r.From, "to", r.To)
	case err == nil:
		j.log.Info("no change", "version", r.To)
	}
	return err
}

type upCmd struct{}

// Run applies what is outstanding.
func (upCmd) Run(j *job) error { return j.done(j.m.Up(j.ctx)) }

type downCmd struct {
	N   *int `arg:"" optional:"" help:"How many migrations to revert; 1 when left out."`
	All bool `help:"Revert every migration: the database is empty afterwards."`
}

// Validate refuses what could be meant in two ways.
func (c downCmd) Validate() error {
	if c.All && c.N != nil {
		return errors.New("--all or a number, not both")
	}
	if c.N != nil && *c.N < 1 {
		return errors.New("the number of migrations to revert is positive")
	}
	return nil
}

// Run reverts.
func (c downCmd) Run(j *job) error {
	if c.All {
		return j.done(j.m.DownAll(j.ctx))
	}
	n := 1
	if c.N != nil {
		n = *c.N
	}
	return j.done(j.m.Down(j.ctx, n))
}

type gotoCmd struct {
	Version uint `arg:"" help:"The version to go to."`
}

// Run goes there.
func (c gotoCmd) Run(j *job) error { return j.done(j.m.Goto(j.ctx, c.Version)) }

type versionCmd struct{}

// Run prints the version on standard output, for scripts, and more in the log.
func (versionCmd) Run(j *job) error {
	v, err := j.m.Version()
	if err != nil {
		return err
	}
	dirty := ""
	if v.Dirty {
		dirty = " (dirty)"
	}
	_, err = fmt.Fprintf(j.out, "%d%s\n", v.Number, dirty)
	j.log.Info("schema", "version", v.Number, "dirty", v.Dirty, "latest", j.m.Latest())
	return err
}

type forceCmd struct {
	Version uint `arg:"" help:"The version that the schema has in truth."`
}

// Run writes it down.
func (c forceCmd) Run(j *job) error {
	if err := j.m.Force(c.Version); err != nil {
		return err
	}
	j.log.Warn("version forced; nothing was run", "version", c.Version)
	return nil
}
