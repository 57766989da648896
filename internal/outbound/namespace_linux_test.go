package outbound

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// insideNamespace marks the process that runs in the namespace.
const insideNamespace = "LANDLORD_TEST_NAMESPACE"

// In a network namespace where every address there is leads to this machine, a listener waits on all of them at the permitted
// ports. What a plain dialer reaches, the guard doesn't let through, but for the public addresses.
func TestGuard_everyAddressIsHere(t *testing.T) {
	if os.Getenv(insideNamespace) != "" {
		everyAddressIsHere(t)
		return
	}
	t.Parallel()
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Fatal("ip is not installed: scripts/deps.sh test installs it (iproute2)")
	}
	const refused = 77
	script := fmt.Sprintf(`"$0" link set lo up && "$0" route add local 0.0.0.0/0 dev lo && "$0" -6 route add local ::/0 dev lo || exit %d
exec "$1" -test.run '^TestGuard_everyAddressIsHere$' -test.v`, refused)
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", script, ip, must(os.Executable()))
	cmd.Env = append(os.Environ(), insideNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if cmd.Process == nil || cmd.ProcessState.ExitCode() == refused {
		t.Skipf("this machine gives no network namespace: %v\n%s", err, out)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func everyAddressIsHere(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{} // connections, by the address that was connected to
	for _, port := range []string{"80", "443"} {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				mu.Lock()
				seen[conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().String()]++
				mu.Unlock()
				conn.Close()
			}
		})
		t.Cleanup(func() { l.Close(); all.Wait() })
	}
	count := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range seen {
			n += c
		}
		return n
	}
	d := newDNS(t)
	c := newClient(t, Config{Resolver: d.Resolver, AllowHTTP: true, Timeout: soon})
	reachable := 0
	for kind, addrs := range special {
		for i, addr := range addrs {
			if plainly(t.Context(), addr) {
				reachable++
			}
			before := count()
			name := fmt.Sprintf("h%d.example", i)
			d.set(name, addr)
			for _, u := range []string{"http://" + name, "https://" + name, "http://" + net.JoinHostPort(addr, "80")} {
				if _, err := c.Do(t.Context(), Request{URL: u}); ClassOf(err) != AddressNotAllowed && ClassOf(err) != URLNotAllowed {
					t.Errorf("%s, %s, %s: got %v", kind, addr, u, err)
				}
			}
			if n := count(); n != before {
				t.Errorf("%s, %s: the listener saw %d connections: %v", kind, addr, n-before, seen)
			}
		}
	}
	if reachable < 35 {
		t.Errorf("a plain dialer reaches only %d of the addresses: the listener proves little", reachable)
	}
	for _, addr := range public {
		before := count()
		d.set("public.example", addr)
		for _, u := range []string{"http://public.example", "http://" + net.JoinHostPort(addr, "80")} {
			res, err := c.Do(t.Context(), Request{URL: u})
			if ClassOf(err) != Reset || res.Remote.Addr() != netip.MustParseAddr(addr) {
				t.Errorf("%s: got %+v, %v", addr, res, err)
			}
		}
		if n := count(); n != before+2 {
			t.Errorf("%s: the listener saw %d connections", addr, n-before)
		}
	}
	t.Logf("a plain dialer reaches %d special addresses", reachable)
}

// plainly reports whether a dialer without a guard reaches the listener.
func plainly(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(addr, "80"))
	if err != nil {
		return false
	}
	_, _ = conn.Read(make([]byte, 1)) // the listener has counted it and hung up
	conn.Close()
	return true
}
