package embeddedpg

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MinMajor is the oldest PostgreSQL that landlord runs on.
const MinMajor = 15

// Programs is a folder with PostgreSQL's server programs.
type Programs struct {
	Dir     string // holds postgres and initdb
	Version string // such as "15.6"
	Major   int
}

// NotFoundError says that the machine has no PostgreSQL server that will do,
// and how to get one.
type NotFoundError struct {
	Wanted  int    // the major version that an existing cluster needs, or 0 for any from MinMajor
	Found   string // the versions that were there and won't do
	Command string // what installs it on this system
}

func (e *NotFoundError) Error() string {
	want := fmt.Sprintf("PostgreSQL %d or newer", MinMajor)
	if e.Wanted > 0 {
		want = fmt.Sprintf("PostgreSQL %d, which made this data folder (or another folder)", e.Wanted)
	}
	found := ""
	if e.Found != "" {
		found = " (found only " + e.Found + ")"
	}
	return fmt.Sprintf("landlord needs the server programs of %s and found none%s; install them with: %s", want, found, e.Command)
}

// Find returns the newest server programs of this machine.
func Find(ctx context.Context) (Programs, error) { return systemFinder().newest(ctx, 0) }

// finder knows where to look; tests look elsewhere.
type finder struct {
	path     string   // like $PATH
	patterns []string // folders of server programs, as globs
	release  string   // the os-release file
}

func systemFinder() *finder {
	return &finder{
		path: os.Getenv("PATH"),
		patterns: []string{
			"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
			"/usr/pgsql-*/bin",          // PostgreSQL's own packages on Fedora, RHEL
			"/usr/libexec/postgresql*",  // Alpine
			"/usr/lib/postgresql*/bin",  // SUSE
			"/usr/local/pgsql/bin",      // from source
			"/opt/homebrew/opt/postgresql*/bin",
			"/usr/local/opt/postgresql*/bin",
			"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
			"/Applications/Postgres.app/Contents/Versions/*/bin",
			"/opt/local/lib/postgresql*/bin", // MacPorts
		},
		release: "/etc/os-release",
	}
}

// newest returns the programs with the highest version, or those of one major
// version when a cluster of that version exists.
func (f *finder) newest(ctx context.Context, major int) (Programs, error) {
	var fit []Programs
	var unfit []string
	for _, dir := range f.dirs(ctx) {
		p, ok := inspect(ctx, dir)
		switch {
		case !ok:
		case p.Major < MinMajor, major > 0 && p.Major != major:
			unfit = append(unfit, fmt.Sprintf("%s in %s", p.Version, p.Dir))
		default:
			fit = append(fit, p)
		}
	}
	if err := ctx.Err(); err != nil {
		return Programs{}, err
	}
	if len(fit) == 0 {
		return Programs{}, &NotFoundError{Wanted: major, Found: strings.Join(unfit, ", "), Command: f.command(major)}
	}
	return slices.MaxFunc(fit, func(a, b Programs) int { return a.Major - b.Major }), nil
}

// dirs lists folders that hold server programs, each once.
func (f *finder) dirs(ctx context.Context) []string {
	candidates := filepath.SplitList(f.path)
	for _, dir := range candidates {
		config := filepath.Join(dir, "pg_config")
		if !executable(config) {
			continue
		}
		if out, err := command(ctx, config, "--bindir").Output(); err == nil {
			candidates = append(candidates, strings.TrimSpace(string(out)))
		}
	}
	for _, pattern := range f.patterns {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		candidates = append(candidates, found...)
	}
	var dirs []string
	for _, dir := range candidates {
		if !filepath.IsAbs(dir) || !executable(filepath.Join(dir, "postgres")) {
			continue
		}
		// A link in a folder of links: initdb and the libraries are where it points.
		target, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
		if err != nil {
			continue
		}
		if d := filepath.Dir(target); executable(filepath.Join(d, "initdb")) {
			dir = d
		}
		if executable(filepath.Join(dir, "initdb")) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

var versionText = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

func inspect(ctx context.Context, dir string) (Programs, bool) {
	out, err := command(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	m := versionText.FindStringSubmatch(string(out))
	if err != nil || m == nil {
		return Programs{}, false
	}
	major, err := strconv.Atoi(m[2])
	return Programs{Dir: dir, Version: m[1], Major: major}, err == nil
}

// command is a short question to a program, which may hang on a broken disk.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = environment()
	cmd.WaitDelay = time.Second
	return cmd
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// choosePrograms finds the programs for a folder, installing them if it may.
func choosePrograms(ctx context.Context, c Config, f *folder, logger *slog.Logger) (Programs, error) {
	find := c.programs
	if find == nil {
		find = systemFinder()
	}
	major, err := f.major()
	if err != nil {
		return Programs{}, err
	}
	p, err := find.newest(ctx, major)
	if err == nil || !c.Install || major > 0 || !find.debian() {
		return p, err
	}
	logger.Info("installing postgresql", "command", find.command(0))
	if ierr := install(ctx); ierr != nil {
		return Programs{}, fmt.Errorf("%w (tried that: %w)", err, ierr)
	}
	return find.newest(ctx, major)
}

// command names what installs a server on this system.
func (f *finder) command(major int) string {
	sudo := "sudo "
	if os.Geteuid() == 0 {
		sudo = ""
	}
	versioned := ""
	if major > 0 {
		versioned = "-" + strconv.Itoa(major)
	}
	ids := f.systemIDs()
	is := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(ids, n) })
	}
	switch {
	case runtime.GOOS == "darwin":
		if major == 0 {
			major = 17
		}
		return fmt.Sprintf("brew install postgresql@%d", major)
	case f.debian():
		return sudo + "apt-get install -y postgresql" + versioned
	case is("fedora", "rhel", "centos"):
		return sudo + "dnf install -y postgresql-server postgresql-contrib"
	case is("alpine"):
		return sudo + "apk add postgresql postgresql-contrib"
	case is("arch"):
		return sudo + "pacman -S --noconfirm postgresql"
	case is("suse", "opensuse", "opensuse-leap", "opensuse-tumbleweed", "sles"):
		return sudo + "zypper install -y postgresql-server postgresql-contrib"
	default:
		return "your system's package manager (package postgresql or postgresql-server), with initdb and postgres on PATH"
	}
}

func (f *finder) debian() bool {
	ids := f.systemIDs()
	return slices.Contains(ids, "debian") || slices.Contains(ids, "ubuntu")
}

// systemIDs reads ID and ID_LIKE of os-release, whose names tell the package manager.
func (f *finder) systemIDs() []string {
	file, err := os.Open(f.release)
	if err != nil {
		return nil // not Linux, or a system that doesn't say
	}
	defer func() { _ = file.Close() }()
	var ids []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), "=")
		if key == "ID" || key == "ID_LIKE" {
			ids = append(ids, strings.Fields(strings.Trim(value, `"'`))...)
		}
	}
	return ids
}
