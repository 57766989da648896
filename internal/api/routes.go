package api

import (
	"net/http"
	"reflect"
)

// routes registers every operation: the whole face on one page.
func (a *API) routes() {
}

// describe registers the pages that need no credential: the OpenAPI document and
// the reference made from it.
func (a *API) describe() {
	a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
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
