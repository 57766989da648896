package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// op describes one operation. Every operation has a row in the contract table
// of package app: success, no credential, another tenant's credential, bad input.
type op struct {
	ID          string // kebab-case, verb first: "create-tenant"
	Method      string
	Path        string        // "/v1/tenants/{tenant}"
	Tag         string        // the noun, plural: groups the reference
	Summary     string        // a few words
	Description string        // order of a list, side effects, what is shown once
	Status      int           // of success; 0: 200, or 201 when Creates
	Creates     bool          // takes Idempotency-Key
	Holder      bool          // the credential is an API key in whatever state: for who ends his own
	ReadOnly    bool          // a POST that changes nothing, such as verify
	Uncached    bool          // changes nothing that replicas keep in memory: nobody waits for the change feed
	MaxBody     int64         // 0: MaxBody
	Wait        time.Duration // how long it may wait for something to happen, besides working
	Errors      []int         // besides 400, 401, 403, 404, 422, 500, 503

	// Plain answers requests of the usual form without the framework; false leaves
	// the request to it. Only for what runs with every request of a product.
	Plain func(w http.ResponseWriter, r *http.Request, c *call, body string) bool
}

// fixed names an operation whose path has no parameter: it is found without the
// mux.
type fixed struct{ method, path string }

// route registers an operation.
func route[I, O any](a *API, o op, h func(context.Context, *I) (*O, error)) {
	if o.Status == 0 {
		o.Status = http.StatusOK
		if o.Creates {
			o.Status = http.StatusCreated
		}
	}
	if o.MaxBody == 0 {
		o.MaxBody = MaxBody
	}
	errs := append([]int{400, 401, 403, 404, 422, 500, 503}, o.Errors...)
	if o.Creates {
		errs = append(errs, 409)
	}
	slices.Sort(errs)
	ho := huma.Operation{
		OperationID: o.ID, Method: o.Method, Path: o.Path, Tags: []string{o.Tag}, Summary: o.Summary, Description: o.Description,
		DefaultStatus: o.Status, Security: []map[string][]string{{"bearer": {}}},
		MaxBodyBytes: -1, BodyReadTimeout: -1, // the middleware has read it, within both bounds
		Responses:  map[string]*huma.Response{},
		Extensions: map[string]any{},
	}
	if o.Creates {
		ho.Parameters = append(ho.Parameters, &huma.Param{
			Name: "Idempotency-Key", In: "header",
			Description: "A key of yours for this request, at most 255 printable characters. The same key and body within 24 h get the stored answer.",
			Schema:      &huma.Schema{Type: "string", MaxLength: new(255)},
		})
	}
	for _, status := range slices.Compact(errs) {
		ho.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}}},
		}
	}
	a.ops[o.Method+" "+o.Path] = o
	if !strings.Contains(o.Path, "{") {
		a.fixed[fixed{o.Method, o.Path}] = o.Method + " " + o.Path
	}
	huma.Register(a.huma, ho, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, a.answer(ctx, err)
		}
		if o.Method != http.MethodGet && !o.ReadOnly && !o.Uncached && a.s.Settle != nil {
			a.s.Settle(ctx)
		}
		return out, nil
	})
}
