package id_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/landlordhq/landlord/internal/id"
)

// The vectors are those of the TypeID specification's valid.json.
func TestTypeID_vectors(t *testing.T) {
	t.Parallel()
	for uid, want := range map[string]string{
		"00000000-0000-0000-0000-000000000001": "tenant_00000000000000000000000001",
		"00000000-0000-0000-0000-00000000000a": "tenant_0000000000000000000000000a",
		"00000000-0000-0000-0000-000000000010": "tenant_0000000000000000000000000g",
		"00000000-0000-0000-0000-000000000020": "tenant_00000000000000000000000010",
		"ffffffff-ffff-ffff-ffff-ffffffffffff": "tenant_7zzzzzzzzzzzzzzzzzzzzzzzzz",
		"0110c853-1d09-52d8-d73e-1194e95b5f19": "tenant_0123456789abcdefghjkmnpqrs",
		"01890a5d-ac96-774b-bcce-b302099a8057": "tenant_01h455vb4pex5vsknk084sn02q",
	} {
		got := id.MustParse[id.Tenant](uid)
		if got.String() != want {
			t.Errorf("%s: got %s, want %s", uid, got, want)
		}
		if back := id.MustParse[id.Tenant](want); back.UUID() != uid {
			t.Errorf("%s: back is %s", want, back.UUID())
		}
	}
}

func TestParse_refuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "tenant_", "tenant_8zzzzzzzzzzzzzzzzzzzzzzzzz", "project_01h455vb4pex5vsknk084sn02q",
		"TENANT_01h455vb4pex5vsknk084sn02q", "tenant_01H455VB4PEX5VSKNK084SN02Q", "tenant_01h455vb4pex5vsknk084sn02",
		"tenant_01h455vb4pex5vsknk084sn0iq", "01h455vb4pex5vsknk084sn02q", "{01890a5d-ac96-774b-bcce-b302099a8057}",
		"urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057", "01890a5dac96774bbcceb302099a8057", "tenant_01h455vb4pex5vsknk084sn02\x00",
	} {
		if _, err := id.Parse[id.Tenant](s); !errors.Is(err, id.ErrMalformed) {
			t.Errorf("%q: got %v, want ErrMalformed", s, err)
		}
	}
}

func TestID_roundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		u := uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))
		if u == uuid.Nil {
			return
		}
		v := id.Tenant(u)
		var fromText, fromSQL id.Tenant
		if err := fromText.UnmarshalText([]byte(v.String())); err != nil || fromText != v {
			t.Fatalf("text: %v %v", fromText, err)
		}
		sqlValue, err := v.Value()
		if err != nil {
			t.Fatal(err)
		}
		if err := fromSQL.Scan(sqlValue); err != nil || fromSQL != v {
			t.Fatalf("sql: %v %v", fromSQL, err)
		}
	})
}

func TestID_json(t *testing.T) {
	t.Parallel()
	type doc struct {
		ID     id.Tenant  `json:"id"`
		Parent id.Tenant  `json:"parent,omitzero"`
		Key    *id.APIKey `json:"key,omitempty"`
	}
	in := doc{ID: id.MustParse[id.Tenant]("01890a5d-ac96-774b-bcce-b302099a8057")}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"id":"tenant_01h455vb4pex5vsknk084sn02q"}`; string(b) != want {
		t.Errorf("got %s, want %s", b, want)
	}
	var out doc
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(in, out); d != "" {
		t.Error(d)
	}
}

func TestNew_growsWithTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ids := []string{
		id.At[id.Tenant](now.Add(-time.Hour)).String(), id.At[id.Tenant](now.Add(-time.Minute)).String(), id.New[id.Tenant]().String(),
	}
	if !slices.IsSorted(ids) {
		t.Errorf("not in order of time: %v", ids)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("tenant_01h455vb4pex5vsknk084sn02q")
	f.Add("01890a5d-ac96-774b-bcce-b302099a8057")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := id.Parse[id.Tenant](s)
		if err != nil {
			return
		}
		again, err := id.Parse[id.Tenant](v.String())
		if !v.IsZero() && (err != nil || again != v) {
			t.Fatalf("%q: %v became %v (%v)", s, v, again, err)
		}
	})
}
