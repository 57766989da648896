package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/landlordhq/landlord/internal/apptest"
)

// beLandlord makes the test binary behave as the program, for the guides' shells.
const beLandlord = "LANDLORD_TEST_BE_LANDLORD"

func TestMain(m *testing.M) {
	if os.Getenv(beLandlord) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

var shellBlocks = regexp.MustCompile("(?s)```sh\n(.*?)```")

// Every command of these guides works, pasted from top to bottom.
func TestGuides(t *testing.T) {
	t.Parallel()
	for _, guide := range []string{"api-keys", "catalog", "entitlements", "gateways", "projects"} {
		t.Run(guide, func(t *testing.T) {
			t.Parallel()
			w := apptest.New(t)
			text, err := os.ReadFile("../../docs/" + guide + ".md")
			if err != nil {
				t.Fatal(err)
			}
			script := "set -eu\n"
			for _, block := range shellBlocks.FindAllStringSubmatch(string(text), -1) {
				script += block[1] + "echo\n"
			}
			script = strings.ReplaceAll(script, "http://127.0.0.1:8080", w.URL)
			script = strings.ReplaceAll(script, "http://127.0.0.1:8081", w.Private)
			script = strings.ReplaceAll(script, "curl -s ", "curl -sS --fail-with-body ")

			dir := t.TempDir()
			examples, err := filepath.Abs("../../examples")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(examples, filepath.Join(dir, "examples")); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(dir, ".landlord"), 0o700); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, ".landlord/owner.token"), w.Owner)
			program := fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", beLandlord, os.Args[0])
			if err := os.WriteFile(filepath.Join(dir, "landlord"), []byte(program), 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-xc", script)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
