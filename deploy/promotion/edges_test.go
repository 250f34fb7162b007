package promotion_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
)

// knows waits until an edge says this of a user.
func (e *edge) knows(user string, want mirror.Knowledge) {
	e.w.t.Helper()
	e.w.await(fmt.Sprintf("the edge says %v of %s", want, user), atEdges, func() error {
		if _, known := e.grant(user); known != want {
			return fmt.Errorf("it says %v", known)
		}
		return nil
	})
}

// atEdges is within what every edge with a fresh beat knows of a decision: a second,
// on a machine that has time.
const atEdges = 5 * time.Second

// Rules 6 and 7: a void and a raise, with an edge that is cut off from Redis. What it
// knows as granted stays until it is back; then the void reaches it.
//
// It failed when an edge did not apply the voids that it follows, and when it did not
// take the limit from them.
func TestEdges(t *testing.T) {
	server := testserver.Redis(t)
	w := newWorld(t, server.URL())
	w.start(10, 100)
	w.run(2)
	w.crowd(0, 20, 1)
	w.complete()
	near, cut := w.edge(server.URL()), w.edge(server.URL())
	for n := range 20 {
		want := mirror.Granted
		if n >= 10 {
			want = mirror.NotGranted
		}
		near.knows(user(n), want)
		cut.knows(user(n), want)
	}
	cut.redis.SetDown(true)
	w.commit(campaign.Void(user(3)))
	near.knows(user(3), mirror.NotGranted)
	near.knows(user(10), mirror.Granted) // the next in line
	if _, known := cut.grant(user(3)); known != mirror.Granted {
		t.Errorf("the edge that is cut off says %v of a grant that it knew", known)
	}
	w.commit(campaign.Revise(func(s *campaign.Settings) { s.Slots += 5 }))
	for n := 10; n < 16; n++ {
		near.knows(user(n), mirror.Granted)
	}
	near.knows(user(16), mirror.NotGranted)
	cut.redis.SetDown(false)
	cut.knows(user(3), mirror.NotGranted)
	cut.knows(user(15), mirror.Granted)
	cut.knows(user(16), mirror.NotGranted)
	w.commit(campaign.Reinstate(user(3)))
	for _, e := range []*edge{near, cut} {
		e.knows(user(3), mirror.Granted)
		e.knows(user(15), mirror.Granted) // nobody loses what they were told
	}
	w.verdict()
}

// Rule 7: 100,000 places, 90,000 of them granted, and a raise by 10,000 at one blow:
// every edge tells everybody.
//
// It failed when an edge did not take the limit from the entries that it follows.
func TestRaise(t *testing.T) {
	places, raise := 100_000, 10_000
	server := testserver.Redis(t)
	w := newWorld(t, server.URL())
	origin, err := w.store.Origin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h := &campaigntest.History{Origin: origin, Campaign: 1, Epoch: 1 << 20}
	slots := int64(places - raise)
	h.Add(campaign.Entry{Kind: campaign.KindStart, Limit: slots, Origin: origin, Epoch: h.Epoch, Settings: &campaign.Settings{
		Name: "large", Discount: 30, Slots: slots, Waitlist: int64(2 * raise), StartsAt: time.Now().UTC().Truncate(time.Millisecond),
	}})
	h.Add(campaign.Entry{Kind: campaign.KindOpen, Limit: slots})
	for n := 0; n < places; n += 500 {
		var users []string
		for i := range 500 {
			users = append(users, user(n+i))
		}
		h.Add(campaign.Entry{Kind: campaign.KindArrive, Users: users})
	}
	var fill errgroup.Group
	fill.SetLimit(4)
	for _, e := range h.Entries {
		fill.Go(func() error { return w.store.Append(t.Context(), e) })
	}
	if err := fill.Wait(); err != nil {
		t.Fatal(err)
	}
	w.run(2)
	w.complete()
	edges := []*edge{w.edge(server.URL()), w.edge(server.URL())}
	watched := make([][]*mirror.User, len(edges))
	for i, e := range edges {
		w.await("the edge follows", atEdges, func() error {
			if !e.view.Live() {
				return fmt.Errorf("not yet")
			}
			return nil
		})
		for n := places - raise; n < places; n += 10 {
			u := e.view.Watch(user(n))
			s, err := e.mirror.Standing(t.Context(), user(n))
			if err != nil {
				t.Fatal(err)
			}
			if _, known := e.view.Learn(u, s); known == mirror.Granted {
				t.Fatalf("%s is granted before the raise", user(n))
			}
			watched[i] = append(watched[i], u)
		}
	}
	done := w.commit(campaign.Revise(func(s *campaign.Settings) { s.Slots += int64(raise) }))
	for i, e := range edges {
		w.await("the edge has all of the raise", atEdges, func() error {
			for k, u := range watched[i] {
				if g, known := e.view.Grant(u); known != mirror.Granted || g.Rank != int64(places-raise+10*k+1) {
					return fmt.Errorf("%v of position %d", known, places-raise+10*k+1)
				}
			}
			return nil
		})
	}
	if done.Limit != int64(places) {
		t.Errorf("limit %d", done.Limit)
	}
	if p := w.login(w.replicas[0], "LAST"); p.Status != campaign.StatusPending {
		t.Errorf("a first login after the raise was told %s", p.Status)
	} else if out := edges[0].tell("LAST", p.Place); out.Status != campaign.StatusFull {
		t.Errorf("the gateway tells %s", out.Status)
	}
}
