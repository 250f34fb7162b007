package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var (
	programsMu sync.Mutex
	programs   = map[string]string{}
	programDir string
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "earlybird-deploy-")
	if err != nil {
		panic(err)
	}
	programDir = dir
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// program builds a main package of the project, once, and returns the file.
func program(t *testing.T, pkg string) string {
	t.Helper()
	programsMu.Lock()
	defer programsMu.Unlock()
	if file, built := programs[pkg]; built {
		return file
	}
	file := filepath.Join(programDir, filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-trimpath", "-o", file, pkg)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0") // as make does, so that the build cache serves both
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	programs[pkg] = file
	return file
}

// run returns what a program writes to both outputs; it must exit with 0.
func run(t *testing.T, file string, args ...string) string {
	t.Helper()
	out, err := exec.Command(file, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", file, args, err, out)
	}
	return string(out)
}

// read returns a file of the project.
func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
