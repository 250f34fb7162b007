package testserver

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/earlybird/earlybird/deploy/filelock"
)

// buildMongo returns the program of the embedded MongoDB. It is built once for
// each state of its sources, into the user's cache folder; test processes that
// ask at the same time wait for the one that builds.
func buildMongo() (string, error) {
	module, err := localModule()
	if err != nil {
		return "", err
	}
	key, err := sourceKey(module, "go.mod", "go.sum", "mongodb/*.go", "mongodb-server/*.go")
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "earlybird-testserver")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	program := filepath.Join(cache, "mongodb-server-"+key)
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	if err := buildOnce(module, "./mongodb-server", program); err != nil {
		return "", err
	}
	return program, nil
}

// buildOnce builds the package to the file program unless it is there.
func buildOnce(module, pkg, program string) error {
	if _, err := os.Stat(program); err == nil {
		return nil
	}
	lock, err := filelock.Acquire(filepath.Join(filepath.Dir(program), "lock"))
	if err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	defer func() { _ = lock.Release() }()
	if _, err := os.Stat(program); err == nil {
		return nil
	}
	removeOld(filepath.Dir(program))
	unfinished := program + ".unfinished"
	build := exec.Command("go", "build", "-o", unfinished, pkg) //nolint:gosec // a package of this project
	build.Dir = module
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	if err := os.Rename(unfinished, program); err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	return nil
}

// removeOld deletes the programs of earlier sources that no test can still be
// about to start.
func removeOld(cache string) {
	old, _ := filepath.Glob(filepath.Join(cache, "mongodb-server-*"))
	for _, program := range old {
		if info, err := os.Stat(program); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			_ = os.Remove(program)
		}
	}
}

// sourceKey names a state of the files that match the patterns under dir, and
// of the Go version that builds them.
func sourceKey(dir string, patterns ...string) (string, error) {
	sum := sha256.New()
	_, _ = fmt.Fprintln(sum, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, pattern := range patterns {
		names, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if err != nil {
			return "", fmt.Errorf("list sources: %w", err)
		}
		for _, name := range names {
			if err := addFile(sum, name); err != nil {
				return "", err
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

func addFile(sum io.Writer, name string) error {
	source, err := os.ReadFile(name) //nolint:gosec // a source file of this project
	if err != nil {
		return fmt.Errorf("read source: %w", err)
	}
	_, err = fmt.Fprintf(sum, "%s %d\n%s\n", filepath.Base(name), len(source), source)
	return err
}
