package campaign_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
)

// started is a campaign with two winners, in a store and a mirror.
func started(t *testing.T) (*campaigntest.Cluster, *campaigntest.Mirror) {
	t.Helper()
	cluster, mirror := campaigntest.NewCluster(), campaigntest.NewMirror()
	do(t, admin(cluster, mirror), campaign.Start(campaign.Settings{Name: "N", Slots: 5, Discount: 30}))
	return cluster, mirror
}

func admin(cluster *campaigntest.Cluster, mirror campaign.Mirror) *campaign.Admin {
	return campaign.NewAdmin(campaign.AdminConfig{Store: cluster.Client("admin"), Mirror: mirror, By: "test"})
}

func do(t *testing.T, a *campaign.Admin, change campaign.Change) {
	t.Helper()
	if _, err := a.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if done, err := a.Commit(t.Context(), change); err != nil || done.Mirror != nil {
		t.Fatal(err, done.Mirror)
	}
}

// TestCompareWhileOthersAppend: what is appended between the reads of log and
// mirror is not taken for lost.
func TestCompareWhileOthersAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, mirror := started(t)
		busy := &busyMirror{Mirror: mirror, before: func() { do(t, admin(cluster, mirror), campaign.Pause()) }}
		d, err := admin(cluster, busy).Compare(t.Context())
		if err != nil || len(d.Missing) > 0 || d.Lost != "" || d.Log != d.Mirror.Place {
			t.Errorf("%+v, %v: want no difference", d, err)
		}
	})
}

// busyMirror has something happen before it is looked at.
type busyMirror struct {
	*campaigntest.Mirror
	before func()
}

func (m *busyMirror) State(ctx context.Context) (campaign.MirrorState, error) {
	m.before()
	return m.Mirror.State(ctx)
}

// TestCompareOfALostStream: what the mirror was filled with, and neither the log
// nor its stream has any more, is named.
func TestCompareOfALostStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, mirror := started(t)
		backup := cluster.Backup()
		do(t, admin(cluster, mirror), campaign.Pause())
		cluster.Restore(backup)
		d, err := admin(cluster, mirror).Compare(t.Context())
		if err != nil || len(d.Missing) != 1 || d.Lost != "" {
			t.Errorf("%+v, %v: want that one entry is missing", d, err)
		}
		mirror.Lose(campaigntest.PartStreamEnd)
		d, err = admin(cluster, mirror).Compare(t.Context())
		if err != nil || len(d.Missing) != 0 || d.Lost == "" {
			t.Errorf("%+v, %v: want that something is lost", d, err)
		}
	})
}

// TestReadOn: a watcher sees what is appended, and a database from before.
func TestReadOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, mirror := started(t)
		watching := admin(cluster, mirror)
		phase := func() campaign.Phase {
			log, err := watching.ReadOn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return log.Latest().Phase()
		}
		if got := phase(); got != campaign.PhaseOpen {
			t.Errorf("first: %s", got)
		}
		backup := cluster.Backup()
		do(t, admin(cluster, mirror), campaign.Pause())
		if got := phase(); got != campaign.PhasePaused {
			t.Errorf("after a pause: %s", got)
		}
		cluster.Restore(backup)
		if got := phase(); got != campaign.PhaseOpen {
			t.Errorf("after a backup: %s", got)
		}
	})
}

// TestConflictWithTheClock: the end came while somebody decided.
func TestConflictWithTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, mirror := campaigntest.NewCluster(), campaigntest.NewMirror()
		a := admin(cluster, mirror)
		do(t, a, campaign.Start(campaign.Settings{Name: "N", Slots: 5, Discount: 30, EndsAt: time.Now().Add(time.Hour)}))
		if _, err := a.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour) // of the bubble
		_, err := a.Commit(t.Context(), campaign.Pause())
		var conflict *campaign.ConflictError
		if !errors.As(err, &conflict) || !strings.Contains(err.Error(), "the clock was faster: the end of campaign 1") {
			t.Errorf("%v, want that the end has come", err)
		}
	})
}
