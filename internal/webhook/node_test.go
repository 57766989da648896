package webhook

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The official library for Node verifies what really goes over the wire, with either
// of two secrets, and refuses it when it was changed.
func TestSign_verifiedByNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newReceiver(nil)
	tenant := w.tenant()
	endpoint, old := w.endpoint(tenant, r.URL)
	young, other := NewSecret(V1, time.Now()), NewSecret(V1, time.Now())
	box, err := sealSecrets(w.keys, endpoint, []Secret{old, young, NewSecret(V1a, time.Now())})
	if err != nil {
		t.Fatal(err)
	}
	w.exec(`UPDATE tenant_webhooks SET secret_encrypted = $2, signatures = '{v1,v1a}' WHERE id = $1`, endpoint, box)
	w.engine(nil)
	w.publish(tenant, "render.completed")
	w.eventually("it arrives", func() bool { return len(r.requests()) == 1 })
	got := r.requests()[0]

	var in bytes.Buffer
	try := func(s Secret, body string) {
		line, err := json.Marshal(map[string]any{"secret": s.Value.Reveal(), "body": body, "headers": map[string]string{
			HeaderID: got.header.Get(HeaderID), HeaderTimestamp: got.header.Get(HeaderTimestamp), HeaderSignature: got.header.Get(HeaderSignature),
		}})
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	try(old, got.body)
	try(young, got.body)
	try(other, got.body)
	try(old, strings.Replace(got.body, "completed", "failed", 1))

	folder := run(t, nil, "../../scripts/node-fixtures.sh", "testdata/node")
	answers := run(t, &in, "node", "testdata/node/verify.cjs", folder)
	if diff := cmp.Diff([]string{"ok", "ok", "No matching signature found", "No matching signature found"}, strings.Split(answers, "\n")); diff != "" {
		t.Error(diff)
	}
}

// run runs a program and returns what it prints.
func run(t *testing.T, in *bytes.Buffer, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	if in != nil {
		cmd.Stdin = in
	}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v (make deps installs node and npm)\n%s", name, err, errOut.String())
	}
	return strings.TrimSpace(out.String())
}
