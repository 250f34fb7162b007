package promotion_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
)

// Rules 6, 7 and 9: logins all the while a campaign opens by the clock, is raised
// twice, ends by hand, and the next one is scheduled, opens by the clock and ends by
// it. Those who won the first one use their grant until the second one opens.
//
// It failed when a replica appended arrivals before a start that was due, and when
// a campaign took the discount from the one before at its start, not its open.
func TestDecisions(t *testing.T) {
	server := testserver.Redis(t)
	w := newWorld(t, server.URL())
	w.run(3)
	gateway := w.edge(server.URL())
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for n := c; ; n += 8 {
				select {
				case <-stop:
					return
				default:
				}
				u := user(n)
				r := w.replicas[n%3]
				if p := w.login(r, u); p.Status == campaign.StatusPending {
					gateway.tell(u, p.Place)
				}
				early := user(n % 40)
				if err := w.judge.Promotion(context.Background(), w.replicas[(n+1)%3].Replica, early); err != nil {
					var none *campaign.NoGrantError
					if !errors.As(err, &none) {
						t.Errorf("GET /promotion: %v", err)
					}
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	begins := time.Now().Add(700 * time.Millisecond)
	w.commit(campaign.Start(campaign.Settings{Name: "first", Discount: 30, Slots: 20, Waitlist: 5000, StartsAt: begins}))
	w.await("it is open", 10*time.Second, w.phase(1, campaign.PhaseOpen))
	for range 2 {
		w.commit(campaign.Revise(func(s *campaign.Settings) { s.Slots += 15 }))
	}
	w.commit(campaign.End())
	ends := time.Now().Add(2500 * time.Millisecond)
	w.commit(campaign.Start(campaign.Settings{
		Name: "second", Discount: 20, Slots: 5, Waitlist: 10, StartsAt: ends.Add(-1200 * time.Millisecond), EndsAt: ends,
	}))
	first, err := w.admin(0).Campaign(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	won, _ := first.Grant(1)
	if g, known := gateway.grant(won.UserID); known != mirror.Granted || g.Campaign != 1 || g.Discount != 30 {
		t.Errorf("a winner of the first campaign, while the second is scheduled: %+v, %v", g, known)
	}
	w.await("it has ended", 10*time.Second, w.phase(2, campaign.PhaseEnded))
	close(stop)
	clients.Wait()
	w.verdict()
	for _, e := range w.log() {
		if e.Kind == campaign.KindOpen && e.Campaign == 1 && e.At.Before(begins.Truncate(time.Millisecond)) {
			t.Errorf("opened at %s, before %s", e.At, begins)
		}
	}
}

// phase checks that a campaign has come so far in the log.
func (w *world) phase(number int64, want campaign.Phase) func() error {
	return func() error {
		f, err := w.admin(0).Campaign(w.t.Context(), number)
		if err == nil && f.Phase() != want {
			err = errors.New("it is " + string(f.Phase()))
		}
		return err
	}
}

// Rule 9: a replica whose clock is 10 s off, to either side, appends nothing, opens
// no campaign before its time, and says that it is not ready.
//
// It failed when the clocks were not compared.
func TestClocksApart(t *testing.T) {
	w := newWorld(t, testserver.Redis(t).URL())
	w.run(1)
	w.start(10, 10)
	for _, ahead := range []time.Duration{10 * time.Second, -10 * time.Second} {
		r := w.replica(replicaConfig{ahead: ahead})
		w.await("it has read the clock", 10*time.Second, func() error {
			if r.Stats().Skew.Abs() < campaign.MaxSkew {
				return errors.New("not yet")
			}
			return nil
		})
		if r.Ready() == nil {
			t.Errorf("a replica is ready with a clock %s ahead", ahead)
		}
		if p := w.judge.Place(t.Context(), r.Replica, "THERE"); p.Status != campaign.StatusRetry {
			t.Errorf("a clock %s ahead: the login was told %s, want retry", ahead, p.Status)
		}
	}
	w.login(w.replicas[0], "HERE")
	w.verdict()
	if n := len(w.log()); n != 3 {
		t.Errorf("%d entries, want start, open and one login", n)
	}
}
