package access_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/landlordhq/landlord/internal/access"
)

// docs/permissions.md has one row a permission, in order, with who may hold it.
func TestPermissions_doc(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/permissions.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z:]+)` \\| [^|]+ \\|(.*)\\|$")
	var got []string
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		got = append(got, m[1]+strings.ReplaceAll(m[2], " ", ""))
	}
	var want []string
	for _, p := range access.All() {
		cells := []string{yes(p.TenantGrantable())}
		for _, r := range access.Roles() {
			cells = append(cells, yes(r.Permissions().Has(p)))
		}
		want = append(want, fmt.Sprintf("%s%s", p, strings.Join(cells, "|")))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("docs/permissions.md has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "–"
}
