package catalog

import "slices"

// StarterPlan is the plan of tenants that chose none. It is always there: a
// catalogue may say what it holds, and one that says nothing leaves it empty.
const StarterPlan = "starter"

func starter() Plan {
	return Plan{Name: StarterPlan, Title: "Starter", Description: "The plan of tenants that chose none."}
}

// BuiltInEventTypes lists landlord's own events: what audit.Record is called
// with, and what their payloads hold. Tests hold the list to the sources, to what
// the operations write, and to docs/events.md.
func BuiltInEventTypes() []EventType {
	all := slices.Clone(builtInEvents)
	for i := range all {
		all[i].BuiltIn = true
		if all[i].Schema == nil {
			all[i].Schema = changeSchema(all[i].Name)
		}
	}
	return all
}

// changeSchema is that of what audit.Record sends of itself: the thing that was
// changed, under its noun, and what there is to say about the change.
func changeSchema(eventType string) map[string]any {
	noun := nounOf(eventType)
	switch eventType {
	case "entitlement.plan_applied":
		noun = "plan"
	case "event.erased":
		noun = "tenant"
	}
	text := map[string]any{"type": "string"}
	return map[string]any{
		"type": "object", "required": []any{noun, "metadata"},
		"properties": map[string]any{
			noun: map[string]any{
				"type": "object", "required": []any{"id", "name", "type"},
				"properties": map[string]any{"id": text, "name": text, "type": map[string]any{"const": noun}},
			},
			"metadata": map[string]any{"type": "object"},
		},
	}
}

var builtInEvents = []EventType{
	{Name: "api_key.created", Description: "An API key was issued."},
	{Name: "api_key.disabled", Description: "An API key was stopped, until it is enabled again."},
	{Name: "api_key.enabled", Description: "A disabled API key works again."},
	{Name: "api_key.expired", Description: "An API key has come to its end."},
	{Name: "api_key.expiring", Description: "An API key is about to come to its end."},
	{Name: "api_key.imported", Description: "An API key that was issued elsewhere was brought along."},
	{Name: "api_key.leaked", Description: "An API key was reported to be where it must not be; action says what the key policy did to it."},
	{Name: "api_key.revoked", Description: "An API key was revoked, for good."},
	{Name: "api_key.rotated", Description: "An API key was replaced by a new one; both work until the end of the grace."},
	{Name: "api_key.updated", Description: "An API key's name, scopes, addresses, limits or state changed."},
	{Name: "catalog.applied", Description: "The catalogue changed."},
	{Name: "entitlement.created", Description: "A tenant got a product."},
	{Name: "entitlement.deleted", Description: "A tenant lost a product, or fell back to what its plan gives."},
	{Name: "entitlement.plan_applied", Description: "A tenant's products and limits were brought in line with its plan."},
	{Name: "entitlement.updated", Description: "The configuration, the end or the state of what a tenant has of a product changed."},
	{Name: "event.erased", Description: "Events of a tenant were deleted before their time."},
	{Name: "key_policy.updated", Description: "What a tenant demands of its API keys and of those below it changed."},
	{Name: "operator.bootstrapped", Description: "The first owner was made, or an owner let in again, on the command line."},
	{Name: "operator.created", Description: "A person of the platform was added."},
	{Name: "operator.deleted", Description: "A person of the platform was removed."},
	{Name: "operator.disabled", Description: "A person of the platform may not act any more."},
	{Name: "operator.enabled", Description: "A person of the platform may act again."},
	{Name: "operator.linked", Description: "A person of the platform was linked to an identity of the OIDC issuer."},
	{Name: "operator.updated", Description: "The name or role of a person of the platform changed."},
	{Name: "project.archived", Description: "A project was archived: its keys stop working."},
	{Name: "project.created", Description: "A project was created."},
	{Name: "project.restored", Description: "An archived project works again."},
	{Name: "project.updated", Description: "A project's name, slug, description or metadata changed."},
	{Name: "rate_limit.created", Description: "A tenant got a rate limit, which all its keys share."},
	{Name: "rate_limit.deleted", Description: "A tenant lost a rate limit of its own; that of a product of the same name is back."},
	{Name: "rate_limit.updated", Description: "The numbers of a tenant's rate limit changed."},
	{Name: "service.created", Description: "A service account was made."},
	{Name: "service.deleted", Description: "A service account was removed."},
	{Name: "service.disabled", Description: "A service account may not act any more."},
	{Name: "service.enabled", Description: "A service account may act again."},
	{Name: "service.updated", Description: "The name or permissions of a service account changed."},
	{Name: "tenant.activated", Description: "A tenant went from trial to active."},
	{Name: "tenant.archived", Description: "A tenant was archived."},
	{Name: "tenant.cancelled", Description: "A tenant was cancelled, at once or as of the end of its contract or trial."},
	{Name: "tenant.created", Description: "A tenant was created."},
	{Name: "tenant.deleted", Description: "An archived tenant was deleted."},
	{Name: "tenant.frozen", Description: "A tenant became read-only."},
	{Name: "tenant.legal_hold_cleared", Description: "A tenant may be purged again."},
	{Name: "tenant.legal_hold_set", Description: "A tenant may not be purged."},
	{Name: "tenant.moved", Description: "A tenant got another parent."},
	{Name: "tenant.reactivated", Description: "A frozen tenant became active again."},
	{Name: "tenant.restored", Description: "An archived or deleted tenant came back."},
	{Name: "tenant.resumed", Description: "A suspended tenant is where it was before."},
	{Name: "tenant.suspended", Description: "A tenant was blocked."},
	{Name: "tenant.updated", Description: "A tenant's name, plan or other fields changed."},
	{Name: "token.issued", Description: "An access token was issued."},
	{Name: "token.revoked", Description: "An access token was revoked."},
	{Name: "webhook.cancelled", Description: "What waited to be sent to a webhook endpoint was given up by a person."},
	{Name: "webhook.created", Description: "A webhook endpoint was made."},
	{Name: "webhook.deleted", Description: "A webhook endpoint was taken away."},
	{Name: "webhook.disabled", Description: "A webhook endpoint is not sent to any more: a person did it, it failed for too long, or it answered 410."},
	{Name: "webhook.enabled", Description: "A webhook endpoint is sent to again."},
	{Name: "webhook.failing", Description: "A webhook endpoint keeps failing and will be disabled."},
	{Name: "webhook.paused", Description: "A webhook endpoint is not sent to for a while."},
	{Name: "webhook.recovered", Description: "What a webhook endpoint had missed, or failed to take, is sent again."},
	{Name: "webhook.replayed", Description: "A webhook endpoint is sent what happened before it wanted that."},
	{Name: "webhook.resent", Description: "A delivery to a webhook endpoint is sent again."},
	{Name: "webhook.secret_rotated", Description: "A webhook endpoint got another signing secret."},
	{Name: "webhook.test", Description: "A test of an endpoint, sent to it alone."},
	{Name: "webhook.updated", Description: "A webhook endpoint changed."},
}

// withBuiltIns adds what every catalogue has.
func (d Document) withBuiltIns() Document {
	if !slices.ContainsFunc(d.Plans, func(p Plan) bool { return p.Name == StarterPlan }) {
		d.Plans = append(slices.Clone(d.Plans), starter())
	}
	return d
}
