package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/landlordhq/landlord/client"
	"github.com/landlordhq/landlord/internal/catalog"
)

// applyCmd makes files the whole catalogue.
type applyCmd struct {
	File   []string `help:"File, or folder with *.yaml and *.yml files; more than once to put several together." short:"f" name:"file" required:"" placeholder:"FILE|DIR"`
	DryRun bool     `help:"Only show what would change, and what would be refused." name:"dry-run"`
}

// Run implements the command.
func (c *applyCmd) Run(ctx context.Context, g *Globals) error {
	doc, err := readCatalog(c.File)
	if err != nil {
		return err
	}
	api, err := g.client()
	if err != nil {
		return err
	}
	applied, err := api.Catalog.Apply(ctx, doc, c.DryRun)
	if err != nil {
		return err
	}
	if done, err := g.json(applied); done {
		return errors.Join(err, refusal(applied))
	}
	printChanges(g.out, applied.Changes)
	for _, u := range applied.InUse {
		_, _ = fmt.Fprintf(g.out, "! %s %s: %s\n", noun(u.Kind), u.Name, u.Message)
	}
	g.done("%s", verdict(applied))
	return refusal(applied)
}

// disk reads paths as the shell gives them, so that complaints name them so.
type disk struct{}

// Open implements fs.FS.
func (disk) Open(name string) (fs.File, error) { return os.Open(filepath.FromSlash(name)) }

func readCatalog(paths []string) (doc client.CatalogDocument, err error) {
	var files []string
	for _, p := range paths {
		more, err := catalog.Files(disk{}, filepath.ToSlash(filepath.Clean(p)))
		if err != nil {
			return doc, err
		}
		files = append(files, more...)
	}
	d, err := catalog.Load(disk{}, files...)
	if problems, ok := errors.AsType[catalog.Problems](err); ok {
		return doc, fmt.Errorf("the catalogue has %s, nothing was sent:\n%w", plural(len(problems), "mistake"), err)
	}
	if err != nil {
		return doc, err
	}
	return doc, convert(d, &doc)
}

// convert copies between types with the same JSON.
func convert(from, to any) error {
	raw, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, to)
}

// printChanges shows a diff, one object a line and its fields below it.
func printChanges(w io.Writer, changes []client.CatalogChange) {
	mark := map[string]string{"create": "+", "update": "~", "remove": "-"}
	for _, c := range changes {
		_, _ = fmt.Fprintf(w, "%s %s %s\n", mark[c.Op], noun(c.Kind), c.Name)
		for _, f := range c.Fields {
			switch {
			case f.From == nil:
				_, _ = fmt.Fprintf(w, "    + %s: %s\n", f.Field, f.To)
			case f.To == nil:
				_, _ = fmt.Fprintf(w, "    - %s: %s\n", f.Field, f.From)
			default:
				_, _ = fmt.Fprintf(w, "    ~ %s: %s → %s\n", f.Field, f.From, f.To)
			}
		}
	}
}

func noun(kind string) string { return strings.ReplaceAll(kind, "_", " ") }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func verdict(a *client.CatalogApplied) string {
	count := map[string]int{}
	for _, c := range a.Changes {
		count[c.Op]++
	}
	what := fmt.Sprintf("%d to create, %d to update, %d to remove", count["create"], count["update"], count["remove"])
	switch {
	case len(a.Changes) == 0:
		return fmt.Sprintf("Nothing to do: the catalogue is so already (version %d).", a.Version)
	case a.DryRun:
		return "Dry run: " + what + "; nothing was changed."
	default:
		return fmt.Sprintf("Applied: %s; the catalogue is now version %d.", strings.ReplaceAll(what, " to ", " "), a.Version)
	}
}

// refusal is the error of a dry run whose apply would fail.
func refusal(a *client.CatalogApplied) error {
	if len(a.InUse) == 0 {
		return nil
	}
	return fmt.Errorf("the apply would be refused: tenants use %s that it takes away or breaks", plural(len(a.InUse), "thing"))
}

// catalogCmd is the command group of the catalogue as a whole.
type catalogCmd struct {
	Show       catalogShowCmd `cmd:"" help:"Print the catalogue in force, as a file that apply takes."`
	Meters     metersCmd      `cmd:"" help:"List meters and the limits that can be set on them."`
	Settings   settingsCmd    `cmd:"" help:"List setting definitions."`
	EventTypes eventTypesCmd  `cmd:"" help:"List event types, landlord's own among them."`
}

type catalogShowCmd struct{}

// Run implements the command.
func (c *catalogShowCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	now, err := api.Catalog.Get(ctx)
	if err != nil {
		return err
	}
	if done, err := g.json(now); done {
		return err
	}
	var d catalog.Document
	if err := convert(now.Catalog, &d); err != nil {
		return err
	}
	yaml, err := d.YAML()
	if err != nil {
		return err
	}
	if now.AppliedAt != nil {
		_, _ = fmt.Fprintf(g.out, "# Version %d, applied by %s at %s\n", now.Version, now.AppliedBy, text(now.AppliedAt))
	}
	_, err = g.out.Write(yaml)
	return err
}

type metersCmd struct{ listFlags }

// Run implements the command.
func (c *metersCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Catalog.Meters(ctx, c.options())
	if err != nil {
		return err
	}
	return table(g, p, []string{"NAME", "TITLE", "UNIT", "A DAY IS", "LIMITS"}, func(m client.Meter) []any {
		var limits []string
		for _, l := range m.Limits {
			limits = append(limits, l.Name+" ("+l.Period+")")
		}
		return []any{m.Name, m.Title, m.Unit, m.Aggregation, limits}
	})
}

type settingsCmd struct{ listFlags }

// Run implements the command.
func (c *settingsCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Catalog.Settings(ctx, c.options())
	if err != nil {
		return err
	}
	return table(g, p, []string{"NAME", "TITLE", "DEFAULT"}, func(s client.Setting) []any {
		def, err := json.Marshal(s.Default)
		if err != nil {
			return []any{s.Name, s.Title, err}
		}
		return []any{s.Name, s.Title, string(def)}
	})
}

// productsCmd is the command group of products.
type productsCmd struct {
	List    productListCmd    `cmd:"" help:"List products." aliases:"ls"`
	Get     productGetCmd     `cmd:"" help:"Show a product and its manifest."`
	Tenants productTenantsCmd `cmd:"" help:"List the tenants that have a product."`
}

type productListCmd struct{ listFlags }

// Run implements the command.
func (c *productListCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Catalog.Products(ctx, c.options())
	if err != nil {
		return err
	}
	return table(g, p, []string{"NAME", "TITLE", "PROJECTS", "SCOPES"}, func(p client.Product) []any {
		return []any{p.Name, p.Title, p.SupportsProjects, scopeNames(p.Scopes)}
	})
}

func scopeNames(scopes []client.Scope) []string {
	var names []string
	for _, s := range scopes {
		names = append(names, s.Name)
	}
	return names
}

func productRates(limits []client.ProductRateLimit) []string {
	var rates []string
	for _, l := range limits {
		rates = append(rates, rateText(l.RateLimit)+" per "+l.Per)
	}
	return rates
}

type productArg struct {
	Product string `arg:"" help:"Name of the product."`
}

type productGetCmd struct{ productArg }

// Run implements the command.
func (c *productGetCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Catalog.Product(ctx, c.Product)
	if err != nil {
		return err
	}
	return g.show(p,
		pair{"name", p.Name}, pair{"title", p.Title}, pair{"description", p.Description}, pair{"projects", p.SupportsProjects},
		pair{"scopes", scopeNames(p.Scopes)}, pair{"rate limits", productRates(p.RateLimits)}, pair{"default config", p.DefaultConfig}, pair{"config schema", p.ConfigSchema},
		pair{"updated", p.UpdatedAt},
	)
}

type productTenantsCmd struct {
	productArg
	listFlags
}

// Run implements the command.
func (c *productTenantsCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Catalog.ProductTenants(ctx, c.Product, c.options())
	if err != nil {
		return err
	}
	return table(g, p, []string{"TENANT", "SLUG", "NAME", "STATE", "SOURCE", "EXPIRES"}, func(t client.ProductTenant) []any {
		return []any{t.TenantID, t.TenantSlug, t.TenantName, t.State, t.Source, t.ExpiresAt}
	})
}

// plansCmd is the command group of plans.
type plansCmd struct {
	List planListCmd `cmd:"" help:"List plans." aliases:"ls"`
	Get  planGetCmd  `cmd:"" help:"Show a plan: products, limits, settings."`
}

type planListCmd struct{ listFlags }

// Run implements the command.
func (c *planListCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Catalog.Plans(ctx, c.options())
	if err != nil {
		return err
	}
	return table(g, p, []string{"NAME", "TITLE", "TRIAL DAYS", "PRODUCTS", "ARCHIVED"}, func(p client.Plan) []any {
		return []any{p.Name, p.Title, p.TrialDays, slices.Sorted(maps.Keys(p.Products)), p.Archived}
	})
}

type planGetCmd struct {
	Plan string `arg:"" help:"Name of the plan."`
}

// Run implements the command.
func (c *planGetCmd) Run(ctx context.Context, g *Globals) error {
	api, err := g.client()
	if err != nil {
		return err
	}
	p, err := api.Catalog.Plan(ctx, c.Plan)
	if err != nil {
		return err
	}
	pairs := []pair{
		{"name", p.Name}, {"title", p.Title}, {"description", p.Description}, {"trial days", p.TrialDays}, {"archived", p.Archived},
	}
	for _, name := range slices.Sorted(maps.Keys(p.Products)) {
		config := text(p.Products[name].Config)
		if config == "" {
			config = "by default"
		}
		pairs = append(pairs, pair{"product " + name, config})
		for _, l := range p.Products[name].RateLimits {
			rate := rateText(client.RateLimit{Name: l.Name, Limit: l.Limit, Window: l.Window, Burst: l.Burst})
			pairs = append(pairs, pair{"rate limit of " + name, rate})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Limits)) {
		limit := "unlimited"
		if v := p.Limits[name]; v != nil {
			limit = fmt.Sprint(*v)
		}
		pairs = append(pairs, pair{"limit " + name, limit})
	}
	for _, k := range []struct {
		name string
		n    int
	}{{"days of a key", p.APIKeys.MaxAgeDays}, {"requests/min of a key", p.APIKeys.RateLimitRPM}, {"keys", p.APIKeys.MaxKeys}, {"webhook endpoints", p.Webhooks.MaxEndpoints}} {
		if k.n != 0 {
			pairs = append(pairs, pair{k.name, k.n})
		}
	}
	return g.show(p, append(pairs, pair{"settings", p.Settings})...)
}
