package testserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// packages is where each program comes from, below the project's root.
var packages = map[string][2]string{ // name: module, package
	"earlybird":          {".", "./admin"},
	"earlybird-identity": {".", "./identity"},
	"earlybird-auth":     {".", "./plugin/earlybird-auth"},
	"earlybird-tag":      {".", "./plugin/earlybird-tag"},
	"earlybird-local":    {"deploy/local", "."},
	"stock":              {".", "./deploy/bench/edge/stock"},
	"probe":              {".", "./deploy/testserver/probe"},
}

// Programs builds programs of the project as make does, into a folder of the
// test's own, and returns the folder.
func Programs(t testing.TB, names ...string) string {
	t.Helper()
	local, err := localModule()
	if err != nil {
		t.Fatal(err)
	}
	root, folder := filepath.Join(local, "..", ".."), t.TempDir()
	for _, name := range names {
		from, known := packages[name]
		if !known {
			t.Fatalf("there is no program %s", name)
		}
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(folder, name), from[1]) //nolint:gosec // a package of this project
		build.Dir = filepath.Join(root, filepath.FromSlash(from[0]))
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make does, so that the build cache serves both
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	return folder
}
