package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The published vector of Standard Webhooks, as a tool writes a request down.
const (
	vectorSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorPublic  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
	vectorRequest = "POST /webhooks HTTP/1.1\r\nHost: localhost:3000\r\nContent-Length: 20\r\nContent-Type: application/json\r\n" +
		"Webhook-Id: msg_p5jXN8AQM9LWM0D4loKWxJek\r\nWebhook-Timestamp: 1614265330\r\n" +
		"Webhook-Signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==\r\n" +
		"\r\n{\"test\": 2432232314}"
	vectorTime = "2021-02-25T15:02:15Z" // five seconds later
)

func TestWebhooks_verify(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	edit := func(from, to string) string { return strings.Replace(vectorRequest, from, to, 1) }
	_, unixLines, _ := strings.Cut(strings.ReplaceAll(vectorRequest, "\r\n", "\n"), "\n")
	chunked := edit("Content-Length: 20", "Transfer-Encoding: chunked")
	by, at := []string{"--secret", vectorSecret}, []string{"--at", vectorTime}
	s := shell{t: t, url: "http://127.0.0.1:1"} // no server, no credential
	for _, tc := range []struct {
		name, in string
		args     [][]string
		code     int
		says     string
	}{
		{"good", vectorRequest, [][]string{{"-"}, by, at}, exitOK, "The request is valid."},
		{"by the public key", vectorRequest, [][]string{{"-", "--secret", vectorPublic}, at}, exitOK, "The request is valid."},
		{
			"with lines of Unix, no first line, and a break behind", unixLines + "\n",
			[][]string{{"-"}, by, at},
			exitOK, "The request is valid.",
		},
		{"in chunks", strings.Replace(chunked, "\r\n\r\n{", "\r\n\r\n14\r\n{", 1) + "\r\n0\r\n\r\n", [][]string{{"-"}, by, at}, exitOK, "The request is valid."},
		{"in chunks that were joined", chunked, [][]string{{"-"}, by, at}, exitOK, "The request is valid."},
		{"by flags", "", [][]string{{
			"--id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "--timestamp", "1614265330", "--signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
			"--body", file("body", `{"test": 2432232314}`), "--secret-file", file("secret", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"+vectorSecret+"\n"),
		}, at}, exitOK, "The request is valid."},
		{"a flag in place of a line", edit("1614265330", "1"), [][]string{{"-", "--timestamp", "1614265330"}, by, at}, exitOK, "The request is valid."},
		{"old", vectorRequest, [][]string{{"-"}, by}, exitError, "ago, and receivers take 5m0s"},
		{"old, and taken", vectorRequest, [][]string{{"-", "--at", "2021-02-26T15:00:00Z", "--tolerance", "24h"}, by}, exitOK, "The request is valid."},
		{"another secret", vectorRequest, [][]string{{"-", "--secret", "v1,whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, at}, exitError, "not one of this endpoint's"},
		{"changed", edit("2432232314", "2432232315"), [][]string{{"-"}, by, at}, exitError, "was changed"},
		{"cut short", edit("20\r", "19\r"), [][]string{{"-"}, by, at}, exitError, "was changed"},
		{"an editor's break", edit("20\r", "21\r") + "\n", [][]string{{"-"}, by, at}, exitError, "A line break was added at its end."},
		{"a header is missing", edit("Webhook-Id", "X-Id"), [][]string{{"-"}, by, at}, exitError, "webhook-id         wrong  It is missing."},
		{"cut off", edit("20\r", "200\r"), [][]string{{"-"}, by, at}, exitError, "cut off"},
		{"no request", "hello", [][]string{{"-"}, by, at}, exitError, "this is no request"},
		{"nothing", "", [][]string{{"-"}, by, at}, exitError, "this is no request"},
		{"no secret", vectorRequest, [][]string{{"-"}, at}, exitError, "--secret-file"},
		{"no such secret", vectorRequest, [][]string{{"-", "--secret", "hunter2"}, at}, exitError, "is verified with"},
		{"no file", "", [][]string{{"no/such"}, by, at}, exitError, "no/such"},
		{"no request at all", "", [][]string{by, at}, exitError, "verify what?"},
		{"no tolerance", vectorRequest, [][]string{{"-", "--tolerance", "0s"}, by, at}, exitError, "must be positive"},
	} {
		args := []string{"webhooks", "verify"}
		for _, more := range tc.args {
			args = append(args, more...)
		}
		out, errOut, code := s.run(tc.in, args...)
		if code != tc.code || !strings.Contains(out+errOut, tc.says) {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", tc.name, code, tc.code, tc.says, out, errOut)
		}
	}
	out, _, code := s.run(edit("2432232314", "7"), "webhooks", "verify", "-", "--secret", vectorSecret, "--at", vectorTime, "-o", "json")
	if code != exitError {
		t.Errorf("exit %d\n%s", code, out)
	}
	out, _, code = s.run(vectorRequest, "webhooks", "verify", "-", "--secret", vectorSecret, "--at", vectorTime, "-o", "json")
	var got verified
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitOK {
		t.Fatalf("exit %d, %v\n%s", code, err, out)
	}
	if diff := cmp.Diff(verified{Valid: true, Checks: []verifiedCheck{
		{"webhook-id", true, "msg_p5jXN8AQM9LWM0D4loKWxJek"},
		{"webhook-timestamp", true, "2021-02-25T15:02:10Z, which is 5s ago"},
		{"webhook-signature", true, "The v1 signature is right."},
		{"body", true, "20 bytes, as they were signed"},
	}}, got); diff != "" {
		t.Error(diff)
	}
}
