package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/landlordhq/landlord/client"
)

// demo makes a small world: a reseller, a tenant of it, a customer, the shared
// demo tenant, and a key that verifies. Each step asks what is there first, so
// that a world that was cut short is completed by the next start.
func demo(ctx context.Context, g *Globals, api *client.Client, dir string) error {
	keyFile := filepath.Join(dir, "demo.key")
	if _, err := os.Stat(keyFile); err == nil {
		return nil
	}
	reseller, err := ensureTenant(ctx, api, client.CreateTenant{
		Name: "Northlight Media", Slug: "northlight", Kind: "reseller", Plan: "reseller", Status: "active",
		ContactEmail: "ops@northlight.example", Metadata: map[string]any{"region": "eu"},
	})
	if err != nil {
		return err
	}
	studio, err := ensureTenant(ctx, api, client.CreateTenant{
		Name: "Studio Lumen", Slug: "studio-lumen", Plan: "starter", ParentID: reseller.ID, ContactEmail: "hello@lumen.example",
	})
	if err != nil {
		return err
	}
	for _, t := range []client.CreateTenant{
		{Name: "Acme Pictures", Slug: "acme", Kind: "enterprise", Plan: "enterprise", Status: "active", SalesOwner: "sam@example.com"},
		{Name: "Shared demo", Slug: "demo", Kind: "demo", Plan: "starter"},
	} {
		if _, err := ensureTenant(ctx, api, t); err != nil {
			return err
		}
	}
	token, err := demoKey(ctx, api, studio.ID)
	if err != nil {
		return err
	}
	if err := writeSecret(keyFile, token); err != nil {
		return err
	}
	g.done("Made a demo world: reseller northlight with its tenant studio-lumen, acme, demo; a key in %s", keyFile)
	return nil
}

func ensureTenant(ctx context.Context, api *client.Client, want client.CreateTenant) (*client.Tenant, error) {
	t, err := api.Tenants.Get(ctx, "slug:"+want.Slug)
	if client.IsNotFound(err) {
		t, err = api.Tenants.Create(ctx, want)
	}
	if err != nil {
		return nil, fmt.Errorf("tenant %s: %w", want.Slug, err)
	}
	return t, nil
}

// demoKey makes the demo key. One whose token was lost is rotated away.
func demoKey(ctx context.Context, api *client.Client, tenant string) (string, error) {
	const name = "Demo key"
	issued, err := api.APIKeys.Create(ctx, tenant, client.CreateAPIKey{
		Name: name, Product: "render", Scopes: []string{"renders:create", "renders:read"},
	})
	if err == nil {
		return issued.Token, nil
	}
	if client.Code(err) != "name_taken" {
		return "", err
	}
	for k, listErr := range api.APIKeys.All(ctx, tenant, client.APIKeyFilter{}) {
		if listErr != nil {
			return "", listErr
		}
		if k.Name == name && k.RevokedAt == nil {
			issued, err := api.APIKeys.Rotate(ctx, tenant, k.ID, client.RotateAPIKey{})
			if err != nil {
				return "", err
			}
			return issued.Token, nil
		}
	}
	return "", errors.New("the demo key was lost")
}
