package campaign_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// running is a Replica of an open campaign, inside a synctest bubble.
type running struct {
	t       *testing.T
	replica *campaign.Replica
	cluster *campaigntest.Cluster
	store   *campaigntest.Client // the replica's
	admin   *campaign.Admin
	mirror  *campaigntest.Mirror
	log     bytes.Buffer // read it after synctest.Wait
}

// runReplica starts a campaign through mirror, which the replica uses as used.
func runReplica(t *testing.T, mirror *campaigntest.Mirror, used campaign.Mirror) *running {
	t.Helper()
	cluster := campaigntest.NewCluster()
	r := &running{t: t, mirror: mirror, cluster: cluster, store: cluster.Client("replica")}
	r.replica = campaign.NewReplica(campaign.ReplicaConfig{
		Store: r.store, Mirror: used,
		Log: slog.New(slog.NewTextHandler(&r.log, nil)),
	})
	done := make(chan struct{})
	go func() { defer close(done); _ = r.replica.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	r.admin = campaign.NewAdmin(campaign.AdminConfig{Store: cluster.Client("admin"), Mirror: r.mirror, By: "admin"})
	r.pass(time.Second)
	if _, err := r.admin.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.admin.Commit(t.Context(), campaign.Start(campaign.Settings{Name: "first", Discount: 30, Slots: 9})); err != nil {
		t.Fatal(err)
	}
	r.pass(2 * time.Second)
	r.places("before")
	return r
}

func (r *running) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *running) places(user string) {
	r.t.Helper()
	if p := r.replica.Place(r.t.Context(), user); p.Status != campaign.StatusPending {
		r.t.Errorf("%s is told %s", user, p.Status)
	}
	r.pass(500 * time.Millisecond)
}

// Nothing is written to a Redis of another database, not even the turn. Logins
// are placed all the same, and the mirror is filled once an operator has given
// away what it held.
// Broken on purpose by asking for the turn while the mirror is foreign: it holds
// the turn then.
func TestAForeignMirrorIsNotTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := campaigntest.NewMirror()
		r := runReplica(t, m, limited{m, &redisdb.Breaker{Probe: mirrorTimeout}})
		r.mirror.SwapOrigin("ANOTHER")
		r.pass(2 * time.Second)
		theirs := r.mirror.Snapshot()
		for _, user := range []string{"u1", "u2"} {
			r.places(user)
		}
		r.pass(5 * time.Second)
		if now := r.mirror.Snapshot(); !reflect.DeepEqual(now, theirs) {
			t.Errorf("it was written to: %+v\nit was %+v", now, theirs)
		}
		if !r.replica.Stats().Foreign || strings.Count(r.log.String(), "origin=ANOTHER") != 1 {
			t.Errorf("%+v; it says %s", r.replica.Stats(), r.log.String())
		}

		if err := r.admin.Adopt(t.Context(), r.mirror.Peek()); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		r.places("u3")
		if p := r.mirror.Positions(); r.replica.Stats().Foreign || p["u2"] != 3 || p["u3"] != 4 {
			t.Errorf("after adopt: %+v, positions %v", r.replica.Stats(), p)
		}
	})
}

// readOnly is a mirror that takes no batch, and counts how often it is asked for
// the turn.
type readOnly struct {
	campaign.Mirror
	turns *int
}

func (m readOnly) Apply(context.Context, campaign.Batch) (campaign.MirrorState, error) {
	return campaign.MirrorState{}, errors.New("read only")
}

func (m readOnly) Turn(ctx context.Context, me string, at campaign.Place, waited time.Duration) (campaign.TurnAnswer, error) {
	*m.turns++
	return m.Mirror.Turn(ctx, me, at, waited)
}

// A look at the mirror is enough to know that it is another database's, also
// where nothing can be applied.
// Broken on purpose by not looking at the origin in check.
func TestAForeignMirrorIsKnownByItsState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held, turns := campaigntest.NewMirror(), 0
		theirs := campaigntest.NewHistory("ANOTHER", 1, 2)
		if _, err := held.Apply(t.Context(), theirs.All()); err != nil {
			t.Fatal(err)
		}
		r := runReplica(t, campaigntest.NewMirror(), readOnly{held, &turns})
		r.places("u1")
		if !r.replica.Stats().Foreign || turns != 0 {
			t.Errorf("%+v, asked for the turn %d times", r.replica.Stats(), turns)
		}
	})
}

// A mirror that fails is reported once, and once when it answers again, however
// often the breaker refuses calls in between.
// Broken on purpose by reporting each call that fails.
func TestAFailingMirrorIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := campaigntest.NewMirror()
		r := runReplica(t, m, limited{m, &redisdb.Breaker{Probe: mirrorTimeout}})
		r.mirror.Suffer(campaigntest.MirrorFaults{Fail: errors.New("refused")})
		r.pass(time.Second)
		for _, user := range []string{"u1", "u2", "u3"} {
			r.places(user)
		}
		r.pass(10 * time.Second)
		if log := r.log.String(); strings.Count(log, "redis does not answer") != 1 || r.replica.Stats().MirrorUp {
			t.Errorf("%+v; it says %s", r.replica.Stats(), log)
		}
		r.mirror.Calm()
		r.pass(2 * time.Second)
		if log := r.log.String(); strings.Count(log, "redis answers again") != 1 || strings.Count(log, "redis does not answer") != 1 || !r.replica.Stats().MirrorUp {
			t.Errorf("%+v; it says %s", r.replica.Stats(), log)
		}
		if p := r.mirror.Positions(); p["u3"] != 4 {
			t.Errorf("positions %v", p)
		}
	})
}

// Appends that failed keep nobody waiting who needs none: once the log can be
// read, each login hears how it stands, also where no append will ever succeed
// again because the campaign takes no more places.
// Broken on purpose by asking admit for every login: all but one in a second are
// told retry, for good.
func TestFailedAppendsHoldUpOnlyWhoNeedsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := campaigntest.NewMirror()
		r := runReplica(t, m, m)
		r.store.SetFaults(campaigntest.Faults{Lose: campaigntest.LoseRequest})
		for _, user := range []string{"u1", "u2", "u3"} {
			if p := r.replica.Place(t.Context(), user); p.Status != campaign.StatusRetry {
				t.Errorf("%s is told %s while no append succeeds", user, p.Status)
			}
		}
		r.pass(2 * time.Second)
		if n := r.replica.Stats().Failed; n < 3 {
			t.Fatalf("%d appends have failed", n)
		}
		r.store.SetFaults(campaigntest.Faults{})
		for range 3 {
			r.places("before")
		}
		if _, err := r.admin.Commit(t.Context(), campaign.Pause()); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Minute)
		for _, user := range []string{"u1", "u2", "u3"} {
			if p := r.replica.Place(t.Context(), user); p.Status != campaign.StatusPaused {
				t.Errorf("%s is told %s while the campaign is paused", user, p.Status)
			}
		}
	})
}

// A replica that starts while the log of the next campaign is damaged serves the
// grants of the one before.
// Broken on purpose by ending load at the first damaged campaign: nobody is known
// to hold a grant.
func TestGrantsAreServedBesideADamagedStart(t *testing.T) {
	for _, damage := range []campaigntest.Damage{campaigntest.DamageForeign, campaigntest.DamageChain, campaigntest.DamageKind} {
		t.Run(string(damage), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := runReplica(t, campaigntest.NewMirror(), campaigntest.NewMirror())
				if _, err := r.admin.Commit(t.Context(), campaign.End()); err != nil {
					t.Fatal(err)
				}
				later := campaign.Settings{Name: "second", Discount: 10, Slots: 9, StartsAt: time.Now().Add(time.Hour)}
				if _, err := r.admin.Commit(t.Context(), campaign.Start(later)); err != nil {
					t.Fatal(err)
				}
				r.cluster.Damage("2:0000000000", damage)
				again := campaign.NewReplica(campaign.ReplicaConfig{
					Store: r.cluster.Client("again"), Mirror: r.mirror, Log: slog.New(slog.DiscardHandler), // not r.log, which the first replica writes
				})
				done := make(chan struct{})
				go func() { defer close(done); _ = again.Run(t.Context()) }()
				t.Cleanup(func() { <-done })
				r.pass(time.Second)
				if p, err := again.Promotion(t.Context(), "before"); err != nil || p.Rank != 1 || p.Discount != 30 {
					t.Errorf("the winner is told %+v, %v", p, err)
				}
				if !again.Stats().Damaged {
					t.Error("the damage was not noticed")
				}
			})
		})
	}
}

// A mirror that has lost everything is filled by the ticks: no login waits until
// all places are back in it.
// Broken on purpose by filling it whole after an append: the next login waits for
// every batch.
func TestLoginsDoNotWaitForAMirrorThatIsFilledAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places, batch = 10_000, 20 * time.Millisecond
		m := campaigntest.NewMirror()
		r := runReplica(t, m, m)
		if _, err := r.admin.Commit(t.Context(), campaign.Revise(func(s *campaign.Settings) { s.Slots = 2 * places })); err != nil {
			t.Fatal(err)
		}
		for i := range places { // each is an entry of its own
			if p := r.replica.Place(t.Context(), fmt.Sprint("early", i)); p.Status != campaign.StatusPending {
				t.Fatalf("%d is told %s", i, p.Status)
			}
		}
		r.pass(time.Second)
		m.Flush()
		m.Suffer(campaigntest.MirrorFaults{Delay: batch})
		for i := range 10 {
			began := time.Now()
			p := r.replica.Place(t.Context(), fmt.Sprint("late", i))
			if took := time.Since(began); p.Status != campaign.StatusPending || took > 6*batch {
				t.Errorf("login %d after the loss is told %s after %s; a batch takes %s", i, p.Status, took, batch)
			}
		}
		r.pass(5 * time.Second)
		if at := m.Peek(); !at.Intact || r.replica.Stats().Lag != 0 || m.Positions()["late9"] != places+11 {
			t.Errorf("the mirror is filled up to %s", at.Place)
		}
	})
}
