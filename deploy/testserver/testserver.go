// Package testserver gives tests the real servers they need: a MongoDB (the
// embedded one of deploy/local, or one that EARLYBIRD_TEST_MONGO_URL names)
// and a real redis-server (or the program that EARLYBIRD_TEST_REDIS_SERVER names).
// A test skips when its server is not available,
// or fails if EARLYBIRD_REQUIRE_REAL=1.
package testserver

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
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

// FreeAddresses returns n addresses of this machine that nothing listens on. Their
// ports are below those of outgoing connections, one of which could take a port
// before a server does.
func FreeAddresses(t testing.TB, n int) []string {
	t.Helper()
	var all []string
	for attempts := 100 * n; len(all) < n; attempts-- {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.N(20_000))) //nolint:gosec // a port is no secret
		if err != nil && attempts == 0 {
			t.Fatal(err)
		}
		if err == nil {
			defer func() { _ = listener.Close() }() // all at the end, so that none is given twice
			all = append(all, listener.Addr().String())
		}
	}
	return all
}

// Eventually waits until a condition holds, and returns how long that took. The
// test fails when it takes so long that no machine can be that busy.
func Eventually(t testing.TB, what string, holds func() bool) time.Duration {
	t.Helper()
	const limit = 30 * time.Second
	began := time.Now()
	for !holds() {
		if time.Since(began) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(began)
}

// Output is a buffer that a test reads while something else writes.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends to it.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String is what was written since the start or Reset.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Reset forgets what was written.
func (o *Output) Reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Reset()
}
