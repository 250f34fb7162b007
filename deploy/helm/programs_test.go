package helm

import (
	"log/slog"
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
	dir, err := os.MkdirTemp("", "earlybird-helm-")
	if err != nil {
		panic(err)
	}
	programDir = dir
	slog.SetDefault(slog.New(slog.DiscardHandler)) // Helm tells of each symbolic link
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
	cmd.Dir, cmd.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0") // as make does, so that the build cache serves both
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	programs[pkg] = file
	return file
}

// run returns what a program writes to both outputs, and its exit status.
func run(t *testing.T, env []string, file string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(file, args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("%s %q: %v", file, args, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// said is what a program writes that must end well.
func said(t *testing.T, file string, args ...string) string {
	t.Helper()
	out, status := run(t, nil, file, args...)
	if status != 0 {
		t.Fatalf("%s %q: exit status %d\n%s", file, args, status, out)
	}
	return out
}
