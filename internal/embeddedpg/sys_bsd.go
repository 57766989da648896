//go:build unix && !linux

package embeddedpg

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// dieWithUs does nothing here: the next start stops what was left running.
func dieWithUs(*syscall.SysProcAttr) {}

// serves reports whether process pid is a PostgreSQL in folder pgdata, by its
// command line: `landlord dev` names the folder there.
func serves(pid int, pgdata string) bool {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	line := string(out)
	return err == nil && strings.Contains(line, "postgres") && strings.Contains(line, " -D "+pgdata+" ")
}
