package project

import (
	"encoding/json"
	"maps"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/patch"
)

// Status says whether a project works.
type Status string

// The statuses.
const (
	Active   Status = "active"
	Archived Status = "archived" // its keys answer PROJECT_ARCHIVED
)

// DefaultSlug is what the implicit project, which has no row, would be called.
const DefaultSlug = "default"

// Project is a project as its row holds it.
type Project struct {
	ID          id.Project     `db:"id"`
	TenantID    id.Tenant      `db:"tenant_id"`
	Name        string         `db:"name"`
	Slug        string         `db:"slug"` // unique within the tenant, archived ones included
	Description string         `db:"description"`
	Status      Status         `db:"status"`
	Metadata    map[string]any `db:"metadata"`
	ArchivedAt  *time.Time     `db:"archived_at"`
	CreatedAt   time.Time      `db:"created_at"`
	UpdatedAt   time.Time      `db:"updated_at"`
}

// Ref names a project of a tenant, by id or by slug.
type Ref struct {
	ID   id.Project
	Slug string
}

// ParseRef reads an id (TypeID or bare UUID) or slug:NAME.
func ParseRef(s string) (Ref, error) {
	if slug, ok := strings.CutPrefix(s, "slug:"); ok {
		if slugPattern.MatchString(slug) {
			return Ref{Slug: slug}, nil
		}
	} else if p, err := id.Parse[id.Project](s); err == nil && !p.IsZero() {
		return Ref{ID: p}, nil
	}
	return Ref{}, fault.InvalidField("path.project", "id_malformed", "A project is named by its id, project_…, by a UUID, or by slug:NAME.")
}

// CreateParams says what project to make.
type CreateParams struct {
	TenantID    id.Tenant
	Name        string
	Slug        string // "": made from Name
	Description string
	Metadata    map[string]any
}

// UpdateParams is a merge patch of a project. Metadata is merged key by key.
type UpdateParams struct {
	IfMatch     time.Time // the UpdatedAt that the caller has read; zero does not ask
	Name        patch.Field[string]
	Slug        patch.Field[string]
	Description patch.Field[string]
	Metadata    patch.Field[map[string]any]
}

// Filter narrows a list; a zero field does not.
type Filter struct {
	Status Status
}

// The bounds of a project's fields; lengths are in characters unless stated.
const (
	maxName          = 200
	maxDescription   = 1000
	maxMetadataKeys  = 50
	maxMetadataBytes = 16 << 10 // as JSON
)

var (
	slugPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,38}[a-z0-9]$`)
	keyPattern  = regexp.MustCompile(`^[A-Za-z0-9_.:/-]{1,64}$`)
	notSlug     = regexp.MustCompile(`[^a-z0-9]+`)
)

// slugOf makes a slug from a name; "" when too little of the name is ASCII.
func slugOf(name string) string {
	s := strings.Trim(notSlug.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if len(s) > 40 {
		s = strings.TrimRight(s[:40], "-")
	}
	if !slugPattern.MatchString(s) {
		return ""
	}
	return s
}

// validate brings the text into the form that is stored and complains about what
// the fields may not be.
func (p *Project) validate() error {
	p.Name, p.Description = strings.TrimSpace(p.Name), strings.TrimSpace(p.Description)
	var f fault.Fields
	f.Check(p.Name != "", "name", "required", "A project needs a name.")
	text(&f, "name", p.Name, maxName, unicode.IsControl)
	text(&f, "description", p.Description, maxDescription, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' })
	switch {
	case p.Slug == "":
		f.Add("slug", "required", "A slug can't be made from this name: give one.")
	case !slugPattern.MatchString(p.Slug):
		f.Add("slug", "slug_malformed", "A slug is 2 to 40 characters of a-z, 0-9 and -, and begins and ends with a letter or digit.")
	case p.Slug == DefaultSlug:
		f.Add("slug", "slug_reserved", "The default project is there already, without being named.")
	}
	f.Check(len(p.Metadata) <= maxMetadataKeys, "metadata", "too_many", "At most %d keys.", maxMetadataKeys)
	for k := range p.Metadata {
		if !keyPattern.MatchString(k) {
			f.Add("metadata", "key_malformed", "A metadata key is 1 to 64 characters of letters, digits and _ . : / -.")
			break
		}
	}
	b, err := json.Marshal(p.Metadata)
	f.Check(err == nil && len(b) <= maxMetadataBytes, "metadata", "too_large", "At most %d KiB as JSON.", maxMetadataBytes>>10)
	return f.Err()
}

func text(f *fault.Fields, field, s string, limit int, bad func(rune) bool) {
	f.Check(utf8.RuneCountInString(s) <= limit, field, "too_long", "At most %d characters.", limit)
	f.Check(utf8.ValidString(s) && !strings.ContainsFunc(s, bad), field, "invalid_text", "Control characters and bytes that are not UTF-8 can't be stored here.")
}

// apply returns the project as the patch leaves it.
func (u UpdateParams) apply(p Project) Project {
	u.Name.Apply(&p.Name)
	u.Slug.Apply(&p.Slug)
	u.Description.Apply(&p.Description)
	if m, ok := u.Metadata.Get(); ok {
		p.Metadata = merge(p.Metadata, m)
	} else if u.Metadata.IsNull() {
		p.Metadata = map[string]any{}
	}
	return p
}

// merge lays changes over metadata; null takes a key away.
func merge(old, changes map[string]any) map[string]any {
	out := make(map[string]any, len(old)+len(changes))
	maps.Copy(out, old)
	for k, v := range changes {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = v
		}
	}
	return out
}
