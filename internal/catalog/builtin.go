package catalog

import "slices"

// StarterPlan is the plan of tenants that chose none. It is always there: a
// catalogue may say what it holds, and one that says nothing leaves it empty.
const StarterPlan = "starter"

func starter() Plan {
	return Plan{Name: StarterPlan, Title: "Starter", Description: "The plan of tenants that chose none."}
}

// BuiltInEventTypes lists landlord's own events: what audit.Record is called
// with. A test holds the list to the sources.
func BuiltInEventTypes() []EventType { return slices.Clone(builtInEvents) }

var builtInEvents = []EventType{
	{Name: "catalog.applied", Description: "The catalogue changed."},
	{Name: "entitlement.created", Description: "A tenant got a product."},
	{Name: "entitlement.deleted", Description: "A tenant lost a product, or fell back to what its plan gives."},
	{Name: "entitlement.updated", Description: "The configuration, the end or the state of what a tenant has of a product changed."},
	{Name: "entitlement.plan_applied", Description: "A tenant's products and limits were brought in line with its plan."},
	{Name: "project.archived", Description: "A project was archived: its keys stop working."},
	{Name: "project.created", Description: "A project was created."},
	{Name: "project.restored", Description: "An archived project works again."},
	{Name: "project.updated", Description: "A project's name, slug, description or metadata changed."},
}

func isBuiltInEvent(name string) bool {
	return slices.ContainsFunc(builtInEvents, func(e EventType) bool { return e.Name == name })
}

// withBuiltIns adds what every catalogue has.
func (d Document) withBuiltIns() Document {
	if !slices.ContainsFunc(d.Plans, func(p Plan) bool { return p.Name == StarterPlan }) {
		d.Plans = append(slices.Clone(d.Plans), starter())
	}
	return d
}
