package telemetry

import (
	"runtime"
	"runtime/debug"
)

// Build identifies the running program.
type Build struct {
	Version   string `json:"version"`            // the release's tag, or "devel"
	Revision  string `json:"revision,omitempty"` // the commit, with "-dirty" when the tree had changes
	Time      string `json:"time,omitempty"`     // the commit's, RFC 3339
	GoVersion string `json:"go_version"`
}

// ReadBuild tells what the go command stamped into the program. version, set by the linker in releases, comes first.
func ReadBuild(version string) Build {
	b := Build{Version: version, GoVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = "devel"
	}
	dirty := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	if dirty && b.Revision != "" {
		b.Revision += "-dirty"
	}
	return b
}

// String is what --version prints.
func (b Build) String() string {
	s := "landlord " + b.Version
	if b.Revision != "" {
		s += " (" + b.Revision + ")"
	}
	return s + " " + b.GoVersion
}
