package plugintest

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// Campaign is the promotion over one Redis: a replica of the identity service,
// which places users and keeps the mirror filled, and an operator. The log is in
// memory.
type Campaign struct {
	*campaign.Replica
	Database *campaigntest.Cluster
	Mirror   *mirror.Mirror
	Redis    redis.UniversalClient
	// Stop ends the replica, as an identity service that is down: nothing is
	// filled any more, and there are no beats.
	Stop func()
}

// NewCampaign runs a replica over the Redis at url until the test ends; there is
// no campaign yet.
func NewCampaign(t testing.TB, url string) *Campaign {
	t.Helper()
	return NewCampaignOf(t, url, campaigntest.NewCluster())
}

// NewCampaignOf is NewCampaign over a log that there was before. Without a Redis
// that answers it returns all the same.
func NewCampaignOf(t testing.TB, url string, database *campaigntest.Cluster) *Campaign {
	t.Helper()
	client, err := redisdb.Connect(redisdb.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	c := &Campaign{Database: database, Redis: client, Mirror: mirror.New(mirror.Config{Redis: client})}
	c.Replica = campaign.NewReplica(campaign.ReplicaConfig{
		Store: database.Client("identity"), Mirror: c.Mirror, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	c.Stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		c.Stop()
		_ = client.Close()
	})
	testserver.Eventually(t, "the log is read", func() bool { return c.Ready() == nil })
	return c
}

// Start opens a campaign of 30 percent with this many slots, and ten places
// after them.
func (c *Campaign) Start(t testing.TB, slots int64) {
	t.Helper()
	c.Do(t, campaign.Start(campaign.Settings{
		Name: "Early bird", Description: "for the first", Discount: 30, Slots: slots, Waitlist: 10,
	}))
}

// Extend raises the slots of the campaign.
func Extend(slots int64) campaign.Change {
	return campaign.Revise(func(s *campaign.Settings) { s.Slots = slots })
}

// Do is one command of an operator. The mirror need not have it.
func (c *Campaign) Do(t testing.TB, change campaign.Change) {
	t.Helper()
	if err := c.Commit(change); err != nil {
		t.Fatal(err)
	}
}

// Commit is Do for another goroutine than the test's.
func (c *Campaign) Commit(change campaign.Change) error {
	ctx := context.Background()
	admin := campaign.NewAdmin(campaign.AdminConfig{Store: c.Database.Client("operator"), Mirror: c.Mirror, By: "test"})
	if _, err := admin.Read(ctx); err != nil {
		return err
	}
	_, err := admin.Commit(ctx, change)
	return err
}

// Login places the user and returns the Earlybird header of the identity
// service's response.
func (c *Campaign) Login(t testing.TB, user string) string {
	t.Helper()
	p := c.Place(t.Context(), user)
	if p.Status == campaign.StatusPending {
		return PlaceHeader(p.Place)
	}
	return "status=" + string(p.Status)
}

// PlaceHeader is the Earlybird header of the identity service's response to a
// login that has this place.
func PlaceHeader(p campaign.Place) string { return `status=pending, place="` + p.String() + `"` }

// Placed places the users, one after the other, and waits for the mirror.
func (c *Campaign) Placed(t testing.TB, users ...string) {
	t.Helper()
	for _, user := range users {
		if p := c.Place(t.Context(), user); p.Status != campaign.StatusPending {
			t.Fatalf("%s has no place: %s", user, p.Status)
		}
	}
	c.Filled(t)
}

// Filled waits until the mirror holds all of the log.
func (c *Campaign) Filled(t testing.TB) {
	t.Helper()
	testserver.Eventually(t, "the mirror is filled", func() bool {
		s, err := c.Mirror.State(t.Context())
		log := c.Database.Committed(s.Epoch >> 20)
		return err == nil && s.Origin != "" && s.Intact && s.Seq == int64(len(log))-1 && len(c.Database.Committed(s.Epoch>>20+1)) == 0
	})
}

// Promptly fails the test unless most of the changes were seen within a second,
// which is how soon an edge must know of one. A busy machine may be late once.
func Promptly(t testing.TB, took ...time.Duration) {
	t.Helper()
	slices.Sort(took)
	if took[len(took)/2] > time.Second {
		t.Errorf("changes were seen after %v, want a second at most", took)
	}
}
