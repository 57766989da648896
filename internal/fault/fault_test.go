package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/landlordhq/landlord/internal/fault"
)

func TestAs(t *testing.T) {
	t.Parallel()
	cause := errors.New("relation does not exist")
	for name, tc := range map[string]struct {
		err  error
		kind fault.Kind
		code string
	}{
		"a stranger is internal": {cause, fault.Internal, "internal"},
		"wrapped":                {fmt.Errorf("create tenant: %w", fault.Conflict("slug_taken", "taken")), fault.ConflictKind, "slug_taken"},
		"not found":              {fault.NotFound("api_key"), fault.NotFoundKind, "api_key_not_found"},
	} {
		if e := fault.As(tc.err); e.Kind != tc.kind || e.Code != tc.code {
			t.Errorf("%s: got %v %s", name, e.Kind, e.Code)
		}
	}
	if !errors.Is(fault.As(cause), cause) {
		t.Error("the cause is lost")
	}
	if !errors.Is(fmt.Errorf("x: %w", fault.NotFound("tenant")), fault.NotFound("tenant")) {
		t.Error("errors.Is should compare kind and code")
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	var f fault.Fields
	if f.Err() != nil {
		t.Error("no complaint should be no error")
	}
	f.Check(false, "name", "required", "A name is needed.")
	f.Check(true, "slug", "required", "A slug is needed.")
	e := fault.As(f.Err())
	if len(e.Fields) != 1 || e.Fields[0].Code != "required" || e.Kind != fault.InvalidKind {
		t.Errorf("got %+v", e)
	}
}
