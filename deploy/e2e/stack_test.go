package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
)

// stack is where the journey runs: a local stack of its own, or somebody
// else's gateway.
type stack struct {
	*gateway
	bin      string            // folder of the built programs
	own      *testserver.Stack // started by this test, so it may be restarted and reset; or nil
	mongoURL string            // empty: what the environment says, else the defaults
	redisURL string
	campaign string // the journey's own, once it has started one
}

// newStack gives a running stack: the gateway that GATEWAY_URL names, or a
// fresh local one that stops with the test.
func newStack(t *testing.T) *stack {
	t.Helper()
	if url := os.Getenv("GATEWAY_URL"); url != "" {
		return &stack{bin: testserver.Programs(t, "earlybird"), gateway: newGateway(url)}
	}
	own := testserver.NewStack(t)
	return &stack{own: own, bin: testserver.Programs(t, "earlybird"), gateway: newGateway(own.Gateway), mongoURL: own.Mongo, redisURL: own.Redis}
}

// admin runs the command line against the stack's stores.
func (s *stack) admin(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the last call is in a cleanup
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "earlybird"), args...)
	if s.mongoURL != "" {
		cmd.Env = append(os.Environ(), "EARLYBIRD_MONGO_URL="+s.mongoURL, "EARLYBIRD_REDIS_URL="+s.redisURL)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("earlybird %s: %w\n%s%s", strings.Join(args, " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

// status is what `campaign status --output json` says.
type status struct {
	ID        string `json:"id"`
	Status    string `json:"status"`
	Slots     int64  `json:"slots"`
	Discount  int64  `json:"discount"`
	Granted   int64  `json:"granted"`
	Remaining int64  `json:"remaining"`
	Waiting   int64  `json:"waiting"`
}

func (s *stack) status(t *testing.T) status {
	t.Helper()
	out, err := s.admin(t, "campaign", "status", "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	var st status
	if err := json.Unmarshal(out, &st); err != nil {
		t.Fatalf("campaign status: %v\n%s", err, out)
	}
	return st
}

// newCampaign starts a campaign of the journey's own, after ending the one
// that runs if that may be done.
func (s *stack) newCampaign(t *testing.T, slots, discount int) {
	t.Helper()
	running, err := s.running(t)
	if err != nil {
		t.Fatal(err)
	}
	if running != "" {
		if _, err := s.admin(t, "campaign", "end", "--yes"); err != nil {
			t.Fatal(err)
		}
	}
	_, err = s.admin(t, "campaign", "start", "--name", "Journey", "--yes",
		fmt.Sprintf("--slots=%d", slots), fmt.Sprintf("--discount=%d", discount))
	if err != nil {
		t.Fatal(err)
	}
	s.campaign = s.status(t).ID
}

// running returns the campaign that has not ended, or "". It is an error when
// that one is somebody else's: only E2E_RESET=1 allows to end it.
func (s *stack) running(t *testing.T) (string, error) {
	t.Helper()
	out, err := s.admin(t, "campaign", "status", "--output", "json")
	if err != nil {
		return "", nil //nolint:nilerr // there is no campaign, or the start that follows says what is wrong
	}
	var st status
	if err := json.Unmarshal(out, &st); err != nil {
		return "", fmt.Errorf("campaign status: %w\n%s", err, out)
	}
	if st.Status == "ended" {
		return "", nil
	}
	if s.own == nil && st.ID != s.campaign && os.Getenv("E2E_RESET") != "1" {
		return "", fmt.Errorf("campaign %s is %s there; set E2E_RESET=1 to end it", st.ID, st.Status)
	}
	return st.ID, nil
}

// eventually polls until check passes.
func eventually(t *testing.T, within time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	err := errors.New("not tried")
	for time.Now().Before(deadline) {
		if err = check(); err == nil {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Fatalf("%s: not within %v: %v", what, within, err)
}

// each runs f for every index below n, at most `at` at once, and returns the
// first error.
func each(n, at int, f func(i int) error) error {
	if at == 0 {
		at = n
	}
	tickets := make(chan int, n)
	for i := range n {
		tickets <- i
	}
	close(tickets)
	failures := make(chan error, at)
	for range at {
		go func() {
			var first error
			for i := range tickets {
				if err := f(i); err != nil && first == nil {
					first = err
				}
			}
			failures <- first
		}()
	}
	var all []error
	for range at {
		all = append(all, <-failures)
	}
	return errors.Join(all...)
}

var workers = 2 * runtime.NumCPU()
