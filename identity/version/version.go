// Package version tells which build of Earlybird a program is.
package version

import (
	"cmp"
	"runtime/debug"
)

// set is for builds outside a git checkout, such as those of the container
// images: go build -ldflags "-X github.com/earlybird/earlybird/identity/version.set=v1.2.3".
var set string

// String returns the version that the build was given, else the one that the Go
// toolchain read from git, else "dev".
func String() string {
	if set != "" {
		return set
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	return cmp.Or(info.Main.Version, "dev")
}
