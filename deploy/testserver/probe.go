package testserver

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// Probe asks a URL every 10 ms, from a process of its own and on a new
// connection each time, until stop is called, which returns how long the answers
// took, in ascending order. Any other answer than 200 fails the test.
func Probe(t testing.TB, url string) (stop func() []time.Duration) {
	t.Helper()
	var said, failed bytes.Buffer
	cmd := exec.CommandContext(t.Context(), filepath.Join(Programs(t, "probe"), "probe"), url) //nolint:gosec // a program of this project
	cmd.Stdout, cmd.Stderr = &said, &failed
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() []time.Duration {
		t.Helper()
		_ = input.Close()
		if err := cmd.Wait(); err != nil {
			t.Fatalf("GET %s: %v %s", url, err, failed.String())
		}
		var took []time.Duration
		for lines := bufio.NewScanner(&said); lines.Scan(); {
			var micros int64
			if _, err := fmt.Sscan(lines.Text(), &micros); err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Duration(micros)*time.Microsecond)
		}
		slices.Sort(took)
		return took
	}
}
