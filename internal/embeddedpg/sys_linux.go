package embeddedpg

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// dieWithUs has the kernel ask the child for a fast shutdown when we die.
func dieWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }

// serves reports whether process pid is a PostgreSQL in folder pgdata, its
// working directory. A zombie or another user's process is not.
func serves(pid int, pgdata string) bool {
	proc := fmt.Sprintf("/proc/%d/", pid)
	exe, err := os.Readlink(proc + "exe")
	if err != nil || !strings.HasPrefix(filepath.Base(exe), "postgres") {
		return false
	}
	cwd, err := os.Readlink(proc + "cwd")
	return err == nil && cwd == pgdata
}
