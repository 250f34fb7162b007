// Package testserver gives tests the real servers they need: a MongoDB (the
// embedded one of deploy/local, or one that EARLYBIRD_TEST_MONGO_URL names)
// and a real redis-server (or the program that EARLYBIRD_TEST_REDIS_SERVER names).
// A test skips when its server is not available,
// or fails if EARLYBIRD_REQUIRE_REAL=1.
package testserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// unavailable skips the test, or fails it where real servers are required.
func unavailable(t testing.TB, what string, err error) {
	t.Helper()
	if os.Getenv("EARLYBIRD_REQUIRE_REAL") == "1" {
		t.Fatalf("%s is required (EARLYBIRD_REQUIRE_REAL=1) and not there: %v", what, err)
	}
	t.Skipf("%s is not there: %v", what, err)
}

// localModule finds the folder of the module deploy/local, from the folder the
// test runs in upwards.
func localModule() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("working folder: %w", err)
	}
	for {
		local := filepath.Join(dir, "deploy", "local")
		if _, err := os.Stat(filepath.Join(local, "go.mod")); err == nil {
			return local, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the folder deploy/local is not above the test's folder")
		}
		dir = parent
	}
}
