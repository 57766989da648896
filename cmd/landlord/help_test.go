package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	gocmp "github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The help of every command, as a user sees it, and the reference made from the
// same model. What a command promises changes here, before anybody's eyes.
func TestHelp_golden(t *testing.T) {
	for _, e := range os.Environ() { // defaults that the environment gives are shown as such
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "LANDLORD_") {
			t.Setenv(name, "")
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("COLUMNS", "100")
	root := newParser(t.Context(), &cli{}).Model.Node
	golden(t, "testdata/help.txt", helpPage(t, root))
	golden(t, "../../docs/cli.md", referencePage(root))
}

// commands are a node and all that lie below it, in the order of its help.
func commands(n *kong.Node) []*kong.Node {
	all := []*kong.Node{n}
	for _, c := range n.Children {
		if c.Type == kong.CommandNode && !c.Hidden {
			all = append(all, commands(c)...)
		}
	}
	return all
}

// words are what is typed for a command, after the program's name.
func words(n *kong.Node) []string {
	if n.Parent == nil {
		return nil
	}
	return append(words(n.Parent), n.Name)
}

func helpPage(t *testing.T, root *kong.Node) string {
	t.Helper()
	var b strings.Builder
	for _, n := range commands(root) {
		args := append(words(n), "--help")
		var out, errOut bytes.Buffer
		if code := run(t.Context(), args, strings.NewReader(""), &out, &errOut); code != exitOK || errOut.Len() > 0 {
			t.Errorf("landlord %s: exit %d\n%s", strings.Join(args, " "), code, &errOut)
		}
		fmt.Fprintf(&b, "$ landlord %s\n%s\n", strings.Join(args, " "), &out)
	}
	return b.String()
}

func referencePage(root *kong.Node) string {
	var b strings.Builder
	b.WriteString("# Command line\n\nEvery command of `landlord`. The program says the same: `landlord --help`, `landlord COMMAND --help`. This page is made from the\n" +
		"program's own model (`make goldens`).\n\n" +
		"Commands print a table, or with `-o json` what the [API](api.md) answers. What was done is said on standard error. They end with 0 when it\n" +
		"worked, 1 when it failed, with the reason and its [code](errors.md) on standard error, and 2 when the command line is wrong. The\n" +
		"variable below a flag serves in its place; when both are given, the flag counts. Durations are written `90d`, `12h` or `30s`, times\n" +
		"`2026-12-31T00:00:00Z`, dates `2026-12-31`.\n\n" +
		"## Flags of every command\n")
	table2(&b, flagRows(root.Flags))
	for _, n := range commands(root)[1:] {
		path := "landlord " + strings.Join(words(n), " ")
		level := "##"
		if n.Parent != root {
			level = "###"
		}
		fmt.Fprintf(&b, "\n%s %s\n\n%s", level, path, n.Help)
		if len(n.Aliases) > 0 {
			fmt.Fprintf(&b, " Also `%s`.", strings.Join(n.Aliases, "`, `"))
		}
		b.WriteString("\n")
		if len(n.Children) > 0 {
			continue
		}
		fmt.Fprintf(&b, "\n```\n%s\n```\n", usage(path, n))
		rows := flagRows(n.Flags)
		for i, p := range n.Positional {
			rows = slices.Insert(rows, i, [2]string{"`" + strings.ToUpper(p.Name) + "`", p.Help})
		}
		table2(&b, rows)
	}
	return b.String()
}

// usage is the shortest command line: what has to be given.
func usage(path string, n *kong.Node) string {
	var either []string // of flags of which one is needed
	for _, f := range n.Flags {
		switch {
		case !f.Required || f.Hidden:
		case len(f.Xor) > 0:
			either = append(either, flagText(f))
		default:
			path += " " + flagText(f)
		}
	}
	if len(either) > 0 {
		path += " (" + strings.Join(either, " | ") + ")"
	}
	for _, p := range n.Positional {
		name := strings.ToUpper(p.Name)
		if !p.Required {
			name = "[" + name + "]"
		}
		path += " " + name
	}
	return path
}

func flagRows(flags []*kong.Flag) (rows [][2]string) {
	for _, f := range flags {
		if f.Hidden {
			continue
		}
		name, text := "`"+flagText(f)+"`", f.Help
		if f.Short != 0 {
			name = fmt.Sprintf("`-%c`, ", f.Short) + name
		}
		if len(f.Envs) > 0 {
			name += "<br>`" + strings.Join(f.Envs, "`, `") + "`"
		}
		if f.Default != "" && (!f.IsBool() || f.Default == "true") { // that a switch is off needs no word
			text += " Default: `" + f.Default + "`."
		}
		if f.Required && len(f.Xor) == 0 {
			text += " Required."
		}
		rows = append(rows, [2]string{name, text})
	}
	return rows
}

func flagText(f *kong.Flag) string {
	name := "--" + f.Name
	if f.Tag.Negatable != "" {
		name = "--[no-]" + f.Name
	}
	if f.IsBool() || f.IsCounter() {
		return name
	}
	return name + "=" + cmp.Or(f.PlaceHolder, strings.ToUpper(f.Name))
}

func table2(b *strings.Builder, rows [][2]string) {
	if len(rows) == 0 {
		return
	}
	b.WriteString("\n| | |\n|---|---|\n")
	bar := strings.NewReplacer("|", `\|`) // would end the cell, also within code
	for _, r := range rows {
		fmt.Fprintf(b, "| %s | %s |\n", bar.Replace(r[0]), bar.Replace(r[1]))
	}
}

// golden compares a text with a file, or writes the file with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is stale: run make goldens (-file +program)\n%s", file, diff)
	}
}
