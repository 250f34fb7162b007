package promotion_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
)

// Rules 1 to 3, 5 and 6: replicas that append at full rate, one of them 10 ms
// away; an admin 50 ms away pauses and resumes meanwhile; Redis, which gives the
// turns, is killed meanwhile; some users log in at all replicas at once.
//
// It failed when an insert that found its place taken counted as decided.
func TestAppenders(t *testing.T) {
	for _, n := range []int{2, 5, 25} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			server := testserver.Redis(t)
			w := newWorld(t, server.URL())
			users := 600
			switch {
			case heavy():
				users = 6000
			case n == 25:
				users = 240
			}
			w.start(int64(users/2), int64(users))
			w.replica(replicaConfig{delay: 10 * time.Millisecond})
			w.run(n - 1)
			admin := w.admin(50 * time.Millisecond)

			w.crowd(0, users/6, 64) // undisturbed
			var crowds sync.WaitGroup
			crowds.Go(func() { w.crowd(users/6, users/3, 64) })
			w.commitBy(admin, campaign.Pause())
			w.crowd(users/3, users/2, 64) // told that it is paused
			w.commitBy(admin, campaign.Resume())
			crowds.Wait()
			crowds.Go(func() { w.crowd(users/2, users, 64) })
			server.Kill()
			crowds.Wait() // without Redis
			server.Start()
			w.crowd(0, users, 64) // who was told paused counts now
			w.placed(0, users)
			w.verdict()
		})
	}
}

// Rules 2 and 4: what becomes of a login whose insert the database has carried out
// when its answer is lost, or comes after a pause; and of one whose insert arrives
// after a pause.
//
// It failed when an insert without an answer was answered with retry.
func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault func(p *testserver.Proxy, words ...string) <-chan struct{}
		want  campaign.Status
	}{
		{"lost", (*testserver.Proxy).LoseAnswer, campaign.StatusPending},
		{"late, after a pause", func(p *testserver.Proxy, words ...string) <-chan struct{} {
			return p.DelayAnswer(1200*time.Millisecond, words...)
		}, campaign.StatusPending},
		{"the insert comes after a pause", func(p *testserver.Proxy, words ...string) <-chan struct{} {
			return p.DelayRequest(1200*time.Millisecond, words...)
		}, campaign.StatusPaused},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, testserver.Redis(t).URL())
			w.start(10, 10)
			w.run(2)
			w.crowd(0, 3, 1)
			seen := test.fault(w.replicas[0].mongo, "insert", "campaign_log", user(4))
			told := make(chan campaign.Placement, 1)
			go func() { told <- w.judge.Place(context.Background(), w.replicas[0].Replica, user(4)) }()
			<-seen
			w.commit(campaign.Pause())
			if p := <-told; p.Status != test.want {
				t.Errorf("the login was told %s, want %s", p.Status, test.want)
			}
			w.commit(campaign.Resume())
			w.crowd(3, 8, 4)
			w.placed(0, 8)
			w.verdict()
		})
	}
}

// Rule 6: a replica that is slow to read on does not refuse by what it remembers. A
// command has returned; then nobody is told what held before it.
//
// It failed when a no was said without reading the log to its end.
func TestSlowReader(t *testing.T) {
	w := newWorld(t, testserver.Redis(t).URL())
	w.start(10, 10)
	w.run(1)
	slow := w.replicas[0]
	w.commit(campaign.Pause())
	if p := w.judge.Place(t.Context(), slow.Replica, user(0)); p.Status != campaign.StatusPaused {
		t.Fatalf("told %s during a pause", p.Status)
	}
	slow.mongo.SetDelay(600 * time.Millisecond) // longer than a command waits before it returns
	w.commit(campaign.Resume())
	p := w.judge.Place(t.Context(), slow.Replica, user(1))
	if p.Status != campaign.StatusPending && p.Status != campaign.StatusRetry {
		t.Errorf("told %s after the pause", p.Status)
	}
	slow.mongo.SetDelay(0)
	w.login(slow, user(1))
	w.verdict()
}
