//go:build unix

package embeddedpg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
)

// PostgreSQL's three ways to stop, by signal; see pg_ctl's modes.
func signalFast(pid int) error      { return syscall.Kill(pid, syscall.SIGINT) }
func signalImmediate(pid int) error { return syscall.Kill(pid, syscall.SIGQUIT) }
func signalKill(pid int) error      { return syscall.Kill(pid, syscall.SIGKILL) }
func signalGroup(pid int) error     { return syscall.Kill(-pid, syscall.SIGINT) }

// TryLock takes an exclusive flock on file unless somebody has one. The kernel
// frees it when the file is closed or the process dies, however it dies.
func TryLock(file *os.File) (bool, error) {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// chooseAccount returns who runs PostgreSQL: we, unless we are root; then the
// owner of an existing cluster, else postgres, else nobody.
func chooseAccount(pgdata string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	var u *user.User
	if info, err := os.Stat(pgdata); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			u, _ = user.LookupId(strconv.Itoa(int(st.Uid)))
		}
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u == nil {
			u, _ = user.Lookup(name)
		}
	}
	if u == nil {
		return account{}, errors.New("PostgreSQL refuses to run as root, and there is no account postgres or nobody to run it as: " +
			"run landlord as an ordinary user, or make one with: useradd --system postgres")
	}
	groups, _ := u.GroupIds() // without them the account has its primary group
	a := account{name: u.Username, other: true}
	for _, g := range groups {
		if n, err := strconv.ParseUint(g, 10, 32); err == nil {
			a.groups = append(a.groups, uint32(n))
		}
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return account{}, fmt.Errorf("account %s: %w", u.Username, err)
	}
	a.uid, a.gid = uint32(uid), uint32(gid)
	return a, nil
}

// attributes put a child into a process group of its own, so that Ctrl-C in a
// terminal reaches us alone and we stop it in order, and make it the account's.
func (a account) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a.other {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
	}
	dieWithUs(attr)
	return attr
}

// own gives a file to the account.
func (a account) own(path string) error {
	if !a.other {
		return nil
	}
	return os.Chown(path, int(a.uid), int(a.gid))
}

func (a account) mayEnter(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	switch {
	case st.Uid == a.uid:
		return info.Mode().Perm()&0o100 != 0
	case st.Gid == a.gid, slices.Contains(a.groups, st.Gid):
		return info.Mode().Perm()&0o010 != 0
	default:
		return info.Mode().Perm()&0o001 != 0
	}
}
