package api

import (
	"context"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/page"
	"github.com/landlordhq/landlord/internal/patch"
)

// Opt is a field of a merge patch (RFC 7396): absent leaves the thing as it is,
// null clears it. Give it `json:"…,omitzero"`.
type Opt[T any] struct{ patch.Field[T] }

// UnmarshalJSON implements json.Unmarshaler. It is not called for absent fields.
func (o *Opt[T]) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		o.Field = patch.Null[T]()
		return nil
	}
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	o.Field = patch.Set(v)
	return nil
}

// Schema implements huma.SchemaProvider: the schema of T, or null.
func (Opt[T]) Schema(r huma.Registry) *huma.Schema {
	s := r.Schema(reflect.TypeFor[T](), true, "")
	if s.Ref == "" {
		s.Nullable = true
	}
	return s
}

// Required is Opt for a field that can be changed but not cleared: null is refused.
type Required[T any] struct{ patch.Field[T] }

// UnmarshalJSON implements json.Unmarshaler.
func (o *Required[T]) UnmarshalJSON(b []byte) error {
	if string(b) == "null" { // json leaves a boolean false for it; the capability says that it is required
		o.Field = patch.Null[T]()
		return nil
	}
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	o.Field = patch.Set(v)
	return nil
}

// Schema implements huma.SchemaProvider: the schema of T.
func (Required[T]) Schema(r huma.Registry) *huma.Schema {
	s := r.Schema(reflect.TypeFor[T](), true, "")
	s.Nullable = false
	return s
}

// Metadata is the caller's own key-value data.
type Metadata map[string]any

// PageQuery is embedded by the input of every list. What inputs embed is exported:
// the framework does not look into embedded structs that are not.
type PageQuery struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Rows at most."`
	Cursor string `query:"cursor" maxLength:"2048" doc:"next_cursor of the page before, as it was."`
}

func (q PageQuery) request() page.Request { return page.Request{Limit: q.Limit, Cursor: q.Cursor} }

// TenantPath is embedded by the input of every operation below a tenant.
type TenantPath struct {
	Tenant string `path:"tenant" maxLength:"64" doc:"Id, bare UUID, or slug:NAME." example:"slug:acme"`
}

// tenant returns the id of the tenant that a path names.
func (a *API) tenant(ctx context.Context, ref string) (id.Tenant, error) {
	return a.s.ResolveTenant(ctx, ref)
}

// Page is the wire form of every list.
type Page[T any] struct {
	Data       []T    `json:"data" doc:"The rows, in the order that the operation states."`
	NextCursor string `json:"next_cursor,omitempty" doc:"Where the next page starts; absent on the last."`
}

type listed[T any] struct{ Body Page[T] }

// listOf turns a page of a capability into its wire form.
func listOf[A, B any](p page.Page[A], f func(A) B) *listed[B] {
	m := page.Map(p, f)
	return &listed[B]{Body: Page[B]{Data: m.Data, NextCursor: m.Next}}
}

// one answers with a thing and its version.
type one[T any] struct {
	ETag string `header:"ETag" doc:"The version of the thing, for If-Match."`
	Body T
}

// created answers 201 with the thing, its version and where it is.
type created[T any] struct {
	Location string `header:"Location" doc:"Path of the new thing."`
	ETag     string `header:"ETag" doc:"The version of the thing, for If-Match."`
	Body     T
}

// plain answers with a document that has no version.
type plain[T any] struct{ Body T }

// empty answers 204.
type empty struct{}

// Precondition is embedded by the input of every change of a thing that exists.
type Precondition struct {
	IfMatch string `header:"If-Match" doc:"Only if the thing still has this ETag; else 412."`
}

// etag is the version of a row: its updated_at, which a trigger makes grow.
func etag(updatedAt time.Time) string {
	return `"` + strconv.FormatInt(updatedAt.UnixMicro(), 36) + `"`
}

// version returns the updated_at that the caller wants to change, zero for any.
func (m Precondition) version() (time.Time, error) {
	s := strings.TrimSpace(m.IfMatch)
	if s == "" || s == "*" {
		return time.Time{}, nil
	}
	if len(s) > 2 && s[0] == '"' && s[len(s)-1] == '"' {
		if n, err := strconv.ParseInt(s[1:len(s)-1], 36, 64); err == nil {
			return time.UnixMicro(n).UTC(), nil
		}
	}
	if strings.HasPrefix(s, `"`) {
		// A tag that we never gave is no version of anything (RFC 9110, 13.1.1).
		return time.Time{}, fault.StaleVersion()
	}
	return time.Time{}, fault.New(fault.Malformed, "if_match_malformed", "If-Match takes one ETag in its quotes, or *.")
}

// utc returns a time as the API shows it, nil for none.
func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// schemaName gives generic types readable names: Page[api.Tenant] is PageTenant.
func schemaName(t reflect.Type, hint string) string {
	return huma.DefaultSchemaNamer(t, hint)
}
