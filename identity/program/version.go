package program

import (
	"cmp"
	"runtime/debug"
)

// version is for builds outside a git checkout, such as those of the container
// images: go build -ldflags "-X github.com/earlybird/earlybird/identity/program.version=v1.2.3".
var version string

// Version returns the version that the build was given, else the one that the Go
// toolchain read from git, else "dev".
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	return cmp.Or(info.Main.Version, "dev")
}
