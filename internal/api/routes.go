package api

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// routes registers every operation: the whole face on one page.
func (a *API) routes() {
	a.tenantRoutes()
	a.operatorRoutes()
	a.serviceRoutes()
	a.tokenRoutes()
	a.auditRoutes()
	a.apiKeyRoutes()
	a.keyImportRoutes()
	a.keyLeakRoutes()
	a.scanningRoutes()
	a.keyPolicyRoutes()
	a.tenantRateLimitRoutes()
	a.catalogRoutes()
	a.entitlementRoutes()
	a.projectRoutes()
	a.eventRoutes()
	a.webhookRoutes()
	a.deliveryRoutes()
}

// describe registers the pages that need no credential: the OpenAPI document and
// the reference made from it.
func (a *API) describe() {
	a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
	a.openAnswers()
	a.referenceRoutes()
	a.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) {
		doc, err := a.OpenAPI()
		if err != nil {
			writeProblem(w, r, a.answer(r.Context(), err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(doc)
	})
}

// openAnswers lets answers grow: within v1 fields are added, so a schema that no
// request uses must not promise that there will be no others.
func (a *API) openAnswers() {
	doc := a.huma.OpenAPI()
	asked := map[string]bool{}
	var walk func(*huma.Schema)
	walk = func(s *huma.Schema) {
		if s == nil {
			return
		}
		if s.Ref != "" {
			if name := refName(s); !asked[name] {
				asked[name] = true
				walk(doc.Components.Schemas.SchemaFromRef(s.Ref))
			}
			return
		}
		walk(s.Items)
		for _, p := range s.Properties {
			walk(p)
		}
		if extra, ok := s.AdditionalProperties.(*huma.Schema); ok {
			walk(extra)
		}
		for _, group := range [][]*huma.Schema{s.OneOf, s.AnyOf, s.AllOf} {
			for _, p := range group {
				walk(p)
			}
		}
	}
	for _, item := range doc.Paths {
		for _, o := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if o == nil || o.RequestBody == nil {
				continue
			}
			for _, m := range o.RequestBody.Content {
				walk(m.Schema)
			}
		}
	}
	for name, s := range doc.Components.Schemas.Map() {
		if closed, ok := s.AdditionalProperties.(bool); ok && !closed && !asked[name] {
			s.AdditionalProperties = nil
		}
	}
}
