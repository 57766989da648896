package app_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every row of docs/reliability.md that says what callers see when something
// breaks names the tests that break it, and they are there.
func TestFault_docs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{} // the file that a test is in
	if err := filepath.WalkDir("../..", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := os.ReadFile(name)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`).FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = string(text)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	rows, inTable := 0, false
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if strings.HasSuffix(line, "| shown by |") || !strings.HasPrefix(line, "|") {
			inTable = line != "" && line[0] == '|'
			continue
		}
		if !inTable || strings.HasPrefix(line, "|---") {
			continue
		}
		rows++
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 4 {
			t.Errorf("%d cells: %s", len(cells), line)
			continue
		}
		names := regexp.MustCompile("`(Test\\w+)(?:/([^`]+))?`").FindAllStringSubmatch(cells[3], -1)
		if len(names) == 0 {
			t.Errorf("%s: shown by no test", cells[0])
		}
		for _, n := range names {
			switch file, ok := tests[n[1]]; {
			case !ok:
				t.Errorf("%s: there is no %s", cells[0], n[1])
			case n[2] != "" && !strings.Contains(file, `"`+n[2]+`"`):
				t.Errorf("%s: %s has no %q", cells[0], n[1], n[2])
			}
		}
	}
	if rows < 16 {
		t.Errorf("only %d rows", rows)
	}
}
