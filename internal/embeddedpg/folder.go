package embeddedpg

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// closedBase is where root keeps data whose own folder the unprivileged
// account can't enter, as with a checkout under /root.
const closedBase = "/var/lib/landlord"

// folder is a data folder that this process owns, and the account that runs
// PostgreSQL in it.
type folder struct {
	dir     string // absolute, without links
	account account
	lock    *os.File
}

// ErrInUse says that another process owns the data folder.
var ErrInUse = errors.New("data folder is in use")

func openFolder(c Config, logger *slog.Logger) (*folder, error) {
	if c.DataDir == "" {
		return nil, errors.New("embedded postgresql needs a data folder")
	}
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	base := c.closed
	if base == "" {
		base = closedBase
	}
	acc, err := chooseAccount(filepath.Join(dir, "pgdata"))
	if err != nil {
		return nil, err
	}
	if at := acc.barred(filepath.Dir(dir)); at != "" { // dir itself is ours to open
		sum := sha256.Sum256([]byte(dir))
		other := filepath.Join(base, "pg-"+hex.EncodeToString(sum[:6]))
		logger.Warn("data folder moved: postgresql can't run as root, and its account can't enter the wanted folder",
			"account", acc.name, "closed", at, "wanted", dir, "folder", other)
		dir = other
	}
	perm := fs.FileMode(0o700)
	if acc.other {
		perm = 0o711 // to be passed through
	}
	if err := os.MkdirAll(dir, perm); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	if err := os.Chmod(dir, perm); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if at := acc.barred(dir); at != "" {
		return nil, fmt.Errorf("account %s, which has to run PostgreSQL because root may not, can't enter %s: "+
			"allow it (chmod o+x %s) or choose another data folder", acc.name, at, at)
	}
	f := &folder{dir: dir, account: acc}
	if err := f.own(); err != nil {
		return nil, err
	}
	return f, nil
}

// own takes the folder's lock or tells who has it.
func (f *folder) own() error {
	lock, err := os.OpenFile(filepath.Join(f.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock data folder: %w", err)
	}
	free, err := TryLock(lock)
	if err == nil && !free {
		holder := make([]byte, 20)
		n, _ := lock.ReadAt(holder, 0)
		err = fmt.Errorf("%w: %s belongs to process %s; stop it, or use another folder",
			ErrInUse, f.dir, bytes.TrimSpace(holder[:n]))
	}
	if err == nil {
		err = lock.Truncate(0)
	}
	if err == nil {
		_, err = lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		_ = lock.Close()
		return fmt.Errorf("lock data folder: %w", err)
	}
	f.lock = lock
	return nil
}

// close lets go of the folder.
func (f *folder) close() { _ = f.lock.Close() }

func (f *folder) pgdata() string { return filepath.Join(f.dir, "pgdata") }
func (f *folder) pgpass() string { return filepath.Join(f.dir, "pgpass") }

// major is the version of the existing cluster, or 0 when there is none.
func (f *folder) major() (int, error) {
	text, err := os.ReadFile(filepath.Join(f.pgdata(), "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(f.pgdata()); err == nil {
			return 0, fmt.Errorf("%s is not a PostgreSQL cluster: move it away", f.pgdata())
		}
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read cluster version: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read cluster version: %w", err)
	}
	return major, nil
}

// account is who runs PostgreSQL.
type account struct {
	name   string
	uid    uint32
	gid    uint32
	groups []uint32
	other  bool // not the one this process runs as: it is root, and drops to this
}

// barred returns the folder on the way to dir, or dir itself, that the account
// may not pass through, or "". Folders yet to be made bar nobody.
func (a account) barred(dir string) string {
	if !a.other {
		return ""
	}
	for {
		if info, err := os.Stat(dir); err == nil && !a.mayEnter(info) {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}
