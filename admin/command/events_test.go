package command

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
)

// told is what a line of events says.
type told struct {
	ID, Campaign, Kind string
	UserID             string `json:"user_id"`
}

// TestFollowEvents follows the log through an outage of MongoDB and into the next
// campaign, until Ctrl-C, which is no failure. Who resumes at a line gets it again,
// and what followed it.
func TestFollowEvents(t *testing.T) {
	s := newStores(t)
	proxy, through := testserver.NewProxy(t, s.mongoURL, nil)
	through += map[bool]string{true: "&", false: "?"}[strings.Contains(through, "?")] + "serverSelectionTimeoutMS=200"

	s.mustRun(t, "campaign start --yes --name L --slots 1 --discount 10")
	ctx, interrupt := context.WithTimeout(t.Context(), 60*time.Second)
	defer interrupt()
	var lines, errs following
	lines.each, errs.each = func(int) {}, func(int) {}
	ended := make(chan int, 1)
	go func() {
		argv := append(s.argv("campaign events --follow"), "--mongo-url", through)
		ended <- Run(ctx, argv, Streams{In: strings.NewReader(""), Out: &lines, Err: &errs})
	}()
	count := func(f *following) int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.lines)
	}
	wait := func(what string, f *following, n int) {
		t.Helper()
		testwait(t, what, func() bool { return count(f) >= n })
	}

	wait("the start", &lines, 2)
	replica := s.replica(t)
	place(t, replica, "a", "b")
	wait("a grant and one who waits", &lines, 5)
	proxy.SetDown(true)
	wait("the outage is told", &errs, 1)
	s.mustRun(t, "campaign extend --yes --slots 2")
	proxy.SetDown(false)
	wait("what happened meanwhile", &lines, 7)
	s.mustRun(t, "campaign end --yes")
	s.mustRun(t, "campaign start --yes --name M --slots 1 --discount 20")
	testwait(t, "the next campaign", func() bool { place(t, replica, "b"); return s.latest(t).Last() == 1 })
	wait("the next campaign's grant", &lines, 12)
	interrupt()
	if status := <-ended; status != exitDone {
		t.Errorf("exit %d after Ctrl-C: %s", status, strings.Join(errs.lines, "\n"))
	}
	if len(errs.lines) != 2 || !strings.HasPrefix(errs.lines[0], "waiting: mongodb: ") || errs.lines[1] != "the log can be read again" {
		t.Errorf("said of the outage:\n%s", strings.Join(errs.lines, "\n"))
	}

	var kinds []string
	var last told
	for _, line := range lines.lines {
		var one told
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		kinds, last = append(kinds, one.Campaign+":"+one.Kind+":"+one.UserID), one
	}
	want := []string{
		"1:start:", "1:open:", "1:arrival:a", "1:grant:a", "1:arrival:b", "1:change:", "1:grant:b", "1:end:",
		"2:start:", "2:open:", "2:arrival:b", "2:grant:b",
	}
	if !slices.Equal(kinds, want) {
		t.Errorf("told\n%q, want\n%q", kinds, want)
	}
	if again := s.mustRun(t, "campaign events --from "+last.ID); again != lines.lines[len(lines.lines)-1]+"\n" {
		t.Errorf("resumed at the last: %s", again)
	}
}

// TestFollowNothing: whoever follows may do so before there is a campaign.
func TestFollowNothing(t *testing.T) {
	s := newStores(t)
	ctx, interrupt := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer interrupt()
	if status, out, errs := s.run(ctx, strings.NewReader(""), "campaign events --follow"); status != exitDone || out != "" || errs != "" {
		t.Errorf("exit %d, %s%s", status, out, errs)
	}
}
