package api

import (
	"bytes"
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/landlordhq/landlord/internal/fault"
)

// BatchError is why an item of a batch was refused.
type BatchError struct {
	Code   string         `json:"code" doc:"Stable, as a problem's." example:"token_taken"`
	Detail string         `json:"detail" doc:"For people."`
	Errors []ProblemField `json:"errors,omitempty" doc:"Complaints about single fields of the item."`
}

// lenient is an element of a batch. The framework lets whatever it is pass, and
// the operation answers for each element by itself: one that breaks a rule must
// not spoil the others.
type lenient[T any] struct{ raw json.RawMessage }

// UnmarshalJSON implements json.Unmarshaler.
func (l *lenient[T]) UnmarshalJSON(b []byte) error {
	l.raw = bytes.Clone(b)
	return nil
}

// Schema implements huma.SchemaProvider: that of T, or anything.
func (lenient[T]) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{AnyOf: []*huma.Schema{
		r.Schema(reflect.TypeFor[T](), true, ""),
		{Description: "Whatever breaks these rules is refused by itself, in its result."},
	}}
}

// value is the element, or what is wrong with it.
func (l lenient[T]) value(a *API) (v T, wrong []ProblemField) {
	var loose any
	if err := json.Unmarshal(l.raw, &loose); err != nil {
		return v, []ProblemField{fieldOf(err)}
	}
	registry := a.huma.OpenAPI().Components.Schemas
	var res huma.ValidateResult
	huma.Validate(registry, registry.Schema(reflect.TypeFor[T](), true, ""), huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, loose, &res)
	for _, err := range res.Errors {
		wrong = append(wrong, fieldOf(err))
	}
	if len(wrong) > 0 {
		return v, wrong
	}
	if err := json.Unmarshal(l.raw, &v); err != nil {
		return v, []ProblemField{fieldOf(err)}
	}
	return v, nil
}

// invalidItem is the fault of an element that breaks rules.
func invalidItem(wrong []ProblemField) error {
	fields := make([]fault.Field, len(wrong))
	for i, w := range wrong {
		fields[i] = fault.Field(w)
	}
	return fault.Invalid(fields...)
}

func batchError(err error) *BatchError {
	p := problemOf(err)
	return &BatchError{Code: p.Code, Detail: p.Detail, Errors: p.Errors}
}
