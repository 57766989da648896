// Command landlord is the tenant registry: its server, its development world and
// its command line.
//
//	landlord dev          a whole world on this machine: PostgreSQL, catalogue, server
//	landlord serve        the server
//	landlord bootstrap    the first owner of a new installation
//	landlord NOUN VERB    everything the REST API can do
//
// Nothing below cmd/ reads the environment: kong fills flags from it here.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes of every command.
const (
	exitOK    = 0
	exitError = 1 // the command failed; the reason is on standard error
	exitUsage = 2 // the command line is wrong
)

// cli is the whole command line: flags, environment and help in one place.
type cli struct {
	Globals

	Dev       devCmd       `cmd:"" help:"Run a whole world on this machine: PostgreSQL, schema, example catalogue, owner, demo tenants, server." group:"server"`
	Serve     serveCmd     `cmd:"" help:"Run one replica of the server." group:"server"`
	Bootstrap bootstrapCmd `cmd:"" help:"Make the first owner of a new installation and print a token." group:"server"`
	Secrets   secretsCmd   `cmd:"" help:"Make the file of peppers and encryption keys." group:"server"`

	Tenants      tenantsCmd      `cmd:"" help:"Tenants: their data, their tree and their lifecycle." group:"registry"`
	Projects     projectsCmd     `cmd:"" help:"Projects that tenants divide themselves into." group:"registry"`
	Entitlements entitlementsCmd `cmd:"" help:"Which tenant may use which product, with which configuration, until when." group:"registry"`
	Keys         keysCmd         `cmd:"" help:"API keys of tenants: issue, rotate, revoke, verify." group:"registry"`
	RateLimits   rateLimitsCmd   `cmd:"" help:"How often all keys of a tenant together may do something." group:"registry"`
	Webhooks     webhooksCmd     `cmd:"" help:"Endpoints of tenants that are told what happened, and what was sent to them." group:"registry"`
	Apply        applyCmd        `cmd:"" help:"Make files the catalogue: products, plans, meters, settings, event types." group:"registry"`
	Catalog      catalogCmd      `cmd:"" help:"The catalogue in force." group:"registry"`
	Products     productsCmd     `cmd:"" help:"Products and their manifests." group:"registry"`
	Plans        plansCmd        `cmd:"" help:"Plans: what tenants are on." group:"registry"`
	Operators    operatorsCmd    `cmd:"" help:"People of the platform and their roles." group:"registry"`
	Services     servicesCmd     `cmd:"" help:"Service accounts: programs that call the registry." group:"registry"`
	Tokens       tokensCmd       `cmd:"" help:"Access tokens of people and service accounts." group:"registry"`
	Events       eventsCmd       `cmd:"" help:"What happened, in order, as webhooks tell it." group:"registry"`
	Audit        auditCmd        `cmd:"" help:"What was done, by whom, to what." group:"registry"`
	Whoami       whoamiCmd       `cmd:"" help:"Whom your credential stands for, and what it may do." group:"registry"`

	Version    kong.VersionFlag `help:"Print the version and exit."`
	Completion completionCmd    `cmd:"" help:"Print a completion script for your shell." group:"other"`
}

func main() {
	// Nothing of ours uses the standard logger. net/http's client does, and repeats there what a receiver sends unasked:
	// strangers would write into the log.
	log.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process: tests call it.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) (code int) {
	c := &cli{}
	c.in, c.out, c.errOut = in, out, errOut
	type exit struct{ code int }
	defer func() {
		switch v := recover().(type) {
		case nil:
		case exit: // kong asked to leave: --help, --version
			code = v.code
		default:
			panic(v)
		}
	}()
	parser := newParser(ctx, c, kong.Writers(out, errOut), kong.Exit(func(code int) { panic(exit{code}) }))
	c.parser = parser
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parser.Parse(args)
	if err != nil {
		if _, ok := errors.AsType[*kong.ParseError](err); ok {
			_, _ = fmt.Fprintf(errOut, "landlord: %v\n", err)
			_, _ = fmt.Fprintln(errOut, `Run "landlord --help", or "landlord COMMAND --help".`)
			return exitUsage
		}
		_, _ = fmt.Fprintf(errOut, "landlord: %v\n", err)
		return exitUsage
	}
	if err := kctx.Run(); err != nil {
		_, _ = fmt.Fprintf(errOut, "landlord: %v\n", err)
		return exitError
	}
	return exitOK
}

// newParser builds the command line from its struct.
func newParser(ctx context.Context, c *cli, options ...kong.Option) *kong.Kong {
	parser, err := kong.New(c, append(options,
		kong.Name("landlord"),
		kong.Description("The tenant registry and control plane: who the tenants are, what they may use, which keys are theirs, and what was done."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100, NoExpandSubcommands: true}),
		kong.Help(help),
		kong.ExplicitGroups([]kong.Group{
			{Key: "server", Title: "Run a server:"},
			{Key: "registry", Title: "Work with the registry (through its API):"},
			{Key: "other", Title: "Other:"},
		}),
		kong.Vars{"version": release()},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&c.Globals),
	)...)
	if err != nil {
		panic(err) // the command line itself is a defect
	}
	return parser
}

// help prints the help without aliases, which kong would write into the middle of
// command lines: "landlord tenants (tenant) create". docs/cli.md lists them.
func help(options kong.HelpOptions, kctx *kong.Context) error {
	var forget func(n *kong.Node)
	forget = func(n *kong.Node) {
		n.Aliases = nil // whatever was to be parsed has been
		for _, c := range n.Children {
			forget(c)
		}
	}
	forget(kctx.Model.Node)
	return kong.DefaultHelpPrinter(options, kctx)
}

// version is set by the linker, in `make build` and the image.
var version string

func release() string {
	if version != "" {
		return version
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" && b.Main.Version != "(devel)" {
		return b.Main.Version
	}
	return "dev"
}
