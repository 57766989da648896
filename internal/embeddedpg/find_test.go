package embeddedpg

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakePrograms makes a folder whose postgres answers --version.
func fakePrograms(t *testing.T, root, name, version string) string {
	t.Helper()
	dir := filepath.Join(root, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
	for _, file := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFinder_newest(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	old := fakePrograms(t, root, "14/bin", "14.2")
	mid := fakePrograms(t, root, "15/bin", "15.18 (Debian 15.18-0+deb12u1)")
	fakePrograms(t, root, "16/bin", "16beta1")

	links := filepath.Join(root, "links") // as a distribution puts into a folder of PATH
	tools := filepath.Join(root, "tools") // pg_config without the server beside it
	for _, dir := range []string{links, tools} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(mid, "postgres"), filepath.Join(links, "postgres")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tools, "pg_config"), []byte("#!/bin/sh\necho "+mid+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}

	for _, tt := range []struct {
		name   string
		finder finder
		major  int
		want   Programs
		errHas string
	}{
		{
			name: "highest of a pattern", finder: finder{patterns: []string{root + "/*/bin"}},
			want: Programs{Dir: root + "/16/bin", Version: "16beta1", Major: 16},
		},
		{
			name: "that of the cluster", finder: finder{patterns: []string{root + "/*/bin"}}, major: 15,
			want: Programs{Dir: mid, Version: "15.18", Major: 15},
		},
		{
			name: "a link in PATH", finder: finder{path: links},
			want: Programs{Dir: mid, Version: "15.18", Major: 15},
		},
		{
			name: "pg_config in PATH", finder: finder{path: tools},
			want: Programs{Dir: mid, Version: "15.18", Major: 15},
		},
		{name: "too old", finder: finder{path: old}, errHas: "found only 14.2 in " + old},
		{name: "cluster of a version that is gone", finder: finder{path: mid}, major: 17, errHas: "PostgreSQL 17, which made this data folder"},
		{name: "nothing", errHas: "found none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.finder.newest(t.Context(), tt.major)
			if tt.errHas != "" {
				var missing *NotFoundError
				if !errors.As(err, &missing) || !strings.Contains(err.Error(), tt.errHas) {
					t.Errorf("got error %v, want a NotFoundError with %q", err, tt.errHas)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestNotFoundError_namesTheCommand(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ release, want string }{
		"debian":  {"PRETTY_NAME=\"Debian\"\nID=debian\n", "apt-get install -y postgresql"},
		"mint":    {"ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "apt-get install -y postgresql"},
		"fedora":  {"ID=fedora\n", "dnf install -y postgresql-server postgresql-contrib"},
		"rocky":   {"ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf install -y postgresql-server postgresql-contrib"},
		"alpine":  {"ID=alpine\n", "apk add postgresql postgresql-contrib"},
		"arch":    {"ID=arch\n", "pacman -S --noconfirm postgresql"},
		"suse":    {"ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", "zypper install -y postgresql-server"},
		"unknown": {"ID=haiku\n", "your system's package manager"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release := filepath.Join(t.TempDir(), "os-release")
			if err := os.WriteFile(release, []byte(tt.release), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Start(t.Context(), Config{DataDir: openTemp(t), programs: &finder{release: release}})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want the command %q", err, tt.want)
			}
		})
	}
}

func TestBoundedLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	l, err := openLog(path, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	line := strings.Repeat("x", 39) + "\n"
	for range 1000 {
		if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	for _, p := range []string{path, path + ".1"} {
		info, err := os.Stat(p)
		if err != nil || info.Size() > 100 || info.Size() == 0 {
			t.Errorf("%s: %v, %v, want between 1 and 100 bytes", p, info, err)
		}
	}
	if got := l.Tail(); len(got) > maxTail || !strings.HasSuffix(got, line) {
		t.Errorf("tail of %d bytes", len(got))
	}
}
