package gateway_test

import (
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"testing"

	"github.com/landlordhq/landlord/internal/gateway"
)

// Debian's nginx, as an ordinary user.
func TestNginx_forReal(t *testing.T) {
	t.Parallel()
	testProgram(t, program{
		column: "nginx", landlord: over("GET /gateway/nginx", (*gateway.Gateway).Nginx),
		misspell: []string{"product=render", "produkt=render"},
		start: func(t *testing.T, landlord, backend string, change ...string) string {
			nginx, front := find(t, "nginx"), freeAddress(t)
			dir := folder(t, map[string]string{"nginx.conf": example(t, "nginx/nginx.conf", append(change,
				"server 127.0.0.1:8081;", "server "+landlord+";",
				"server 127.0.0.1:9000;", "server "+backend+";",
				"listen 127.0.0.1:8088;", "listen "+front+";",
				"worker_processes auto;", "worker_processes 1;")...)})
			cmd := exec.Command(nginx, "-p", dir, "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;")
			asNobody(t, cmd, dir)
			run(t, cmd, dir, front)
			return "http://" + front
		},
		more: func(c *caller, token string) {
			if resp, _ := c.do("GET", "/_landlord", "", bearer(token)...); resp.StatusCode != http.StatusNotFound {
				c.t.Errorf("a client asks landlord directly: %d", resp.StatusCode)
			}
		},
	})
}

// asNobody makes a program an ordinary user's, also where root runs the tests.
func asNobody(t *testing.T, cmd *exec.Cmd, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}
