package campaigntest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/unavailable"
)

func TestStore(t *testing.T) {
	campaigntest.RunStore(t, func(*testing.T) campaigntest.StoreSubject {
		c := campaigntest.NewCluster()
		return campaigntest.StoreSubject{Store: c.Client("a"), Damage: c.Damage}
	})
}

// entry is an entry that by itself tells who wrote it.
func entry(seq int64, by string) campaign.Entry {
	return campaign.Entry{Campaign: 1, Seq: seq, Kind: campaign.KindPause, ID: by, By: by}
}

// cluster is what a test of the cluster has: two clients, and the errors of what
// they do.
type cluster struct {
	*campaigntest.Cluster
	t    *testing.T
	a, b *campaigntest.Client
}

// inserted appends an entry, which must succeed.
func (c cluster) inserted(s *campaigntest.Client, e campaign.Entry) {
	c.t.Helper()
	if err := s.Append(c.t.Context(), e); err != nil {
		c.t.Fatalf("append %s by %s: %v", e.DocumentID(), e.By, err)
	}
}

// committed checks who wrote what is committed.
func (c cluster) committed(want ...string) {
	c.t.Helper()
	var got []string
	for _, e := range c.Committed(1) {
		got = append(got, fmt.Sprintf("%d%s", e.Seq, e.By))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		c.t.Errorf("committed %v, want %v", got, want)
	}
}

// reads checks what Entry says: who wrote it, "no entry" or "outage".
func (c cluster) reads(s *campaigntest.Client, seq int64, want string) {
	c.t.Helper()
	e, err := s.Entry(c.t.Context(), 1, seq)
	got := e.By
	switch {
	case errors.Is(err, campaign.ErrNoEntry):
		got = "no entry"
	case unavailable.Is(err):
		got = "outage"
	case err != nil:
		got = err.Error()
	}
	if got != want {
		c.t.Errorf("entry %d: %s, want %s", seq, got, want)
	}
}

// shows checks how many entries Entries yields.
func (c cluster) shows(s *campaigntest.Client, want int) {
	c.t.Helper()
	n := 0
	for _, err := range s.Entries(c.t.Context(), 1, 0) {
		if err != nil {
			c.t.Fatal(err)
		}
		n++
	}
	if n != want {
		c.t.Errorf("%d entries are shown, want %d", n, want)
	}
}

// later appends in the background and returns what becomes of it.
func later(s *campaigntest.Client, e campaign.Entry) <-chan error {
	done := make(chan error, 1)
	go func() { done <- s.Append(context.Background(), e) }()
	return done
}

// TestCluster holds the fake to what a replica set does where one server can
// show nothing. Each was seen to fail with its rule taken out of store.go.
func TestCluster(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name string
		run  func(t *testing.T, c cluster)
	}{
		{"an insert lands after its writer gave up", func(t *testing.T, c cluster) {
			c.a.SetFaults(campaigntest.Faults{Before: 100 * ms})
			ctx, cancel := context.WithTimeout(t.Context(), 10*ms)
			defer cancel()
			if err := c.a.Append(ctx, entry(0, "a")); !unavailable.Is(err) {
				t.Errorf("append: %v, want an outage", err)
			}
			c.reads(c.b, 0, "no entry")
			time.Sleep(100 * ms)
			c.reads(c.b, 0, "a")
		}},
		{"an answer that comes after its reader gave up", func(t *testing.T, c cluster) {
			c.inserted(c.b, entry(0, "b"))
			c.SetFaults(campaigntest.Faults{After: 100 * ms})
			ctx, cancel := context.WithTimeout(t.Context(), 10*ms)
			defer cancel()
			if _, err := c.a.Entry(ctx, 1, 0); !unavailable.Is(err) {
				t.Errorf("entry: %v, want an outage", err)
			}
		}},
		{"every call is refused", func(t *testing.T, c cluster) {
			c.a.SetFaults(campaigntest.Faults{Refuse: true})
			_, originErr := c.a.Origin(t.Context())
			_, nowErr := c.a.Now(t.Context())
			_, entryErr := c.a.Entry(t.Context(), 1, 0)
			var entriesErr error
			for _, err := range c.a.Entries(t.Context(), 1, 0) {
				entriesErr = err
			}
			for i, err := range []error{originErr, nowErr, entryErr, entriesErr, c.a.Append(t.Context(), entry(0, "a"))} {
				if !unavailable.Is(err) {
					t.Errorf("call %d: %v, want an outage", i, err)
				}
			}
			c.committed()
		}},
		{"an answer is lost", func(t *testing.T, c cluster) {
			c.a.NextAppend(campaigntest.Faults{Lose: campaigntest.LoseAnswer})
			c.a.NextAppend(campaigntest.Faults{Lose: campaigntest.LoseRequest})
			for seq := range int64(2) {
				if err := c.a.Append(t.Context(), entry(seq, "a")); !unavailable.Is(err) {
					t.Errorf("append: %v, want an outage", err)
				}
			}
			c.committed("0a")
			c.inserted(c.a, entry(1, "a"))
			if c.a.Appends() != 3 {
				t.Errorf("%d appends, want 3", c.a.Appends())
			}
		}},
		{"a resent insert answers for the first", func(t *testing.T, c cluster) {
			c.a.NextAppend(campaigntest.Faults{Lose: campaigntest.LoseAnswer, Resend: 10 * ms})
			if err := c.a.Append(t.Context(), entry(0, "a")); !errors.Is(err, campaign.ErrTaken) {
				t.Errorf("append: %v, want ErrTaken for the own entry", err)
			}
			c.committed("0a")
		}},
		{"a resent insert after a restore leaves a gap", func(t *testing.T, c cluster) { // m10
			c.inserted(c.a, entry(0, "a"))
			empty := campaigntest.NewCluster().Backup()
			c.a.NextAppend(campaigntest.Faults{Resend: 100 * ms})
			c.inserted(c.a, entry(1, "a"))
			c.Restore(empty)
			time.Sleep(200 * ms)
			c.committed("1a")
		}},
		{"an insert is not read before a majority has it", func(t *testing.T, c cluster) { // h1
			c.a.SetFaults(campaigntest.Faults{Replicate: 100 * ms})
			start, done := time.Now(), later(c.a, entry(0, "a"))
			time.Sleep(10 * ms)
			c.shows(c.b, 0)
			if err := c.b.Append(t.Context(), entry(0, "b")); !errors.Is(err, campaign.ErrTaken) {
				t.Errorf("append: %v, want ErrTaken", err)
			}
			c.reads(c.b, 0, "a")
			if took := time.Since(start); took != 100*ms {
				t.Errorf("the entry was read after %s, want 100ms", took)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		}},
		{"a duplicate is of an entry that is rolled back", func(t *testing.T, c cluster) { // h1
			c.a.SetFaults(campaigntest.Faults{Replicate: 100 * ms})
			done := later(c.a, entry(0, "a"))
			time.Sleep(10 * ms)
			if err := c.b.Append(t.Context(), entry(0, "b")); !errors.Is(err, campaign.ErrTaken) {
				t.Errorf("append: %v, want ErrTaken", err)
			}
			c.Elect(campaigntest.Election{})
			if err := <-done; !unavailable.Is(err) {
				t.Errorf("append before the election: %v, want an outage", err)
			}
			c.reads(c.b, 0, "no entry")
			c.inserted(c.b, entry(0, "b"))
			time.Sleep(200 * ms)
			c.committed("0b")
		}},
		{"an election keeps some of the suffix", func(t *testing.T, c cluster) {
			c.SetFaults(campaigntest.Faults{Replicate: 100 * ms})
			first := later(c.a, entry(0, "a"))
			time.Sleep(ms)
			second := later(c.b, entry(1, "b"))
			time.Sleep(ms)
			c.Elect(campaigntest.Election{Survive: 1})
			for _, done := range []<-chan error{first, second} {
				if err := <-done; !unavailable.Is(err) {
					t.Errorf("append before the election: %v, want an outage", err)
				}
			}
			c.committed("0a")
		}},
		{"a majority read lags after an election, Entry does not", func(t *testing.T, c cluster) { // h2, h3
			c.inserted(c.a, entry(0, "a"))
			time.Sleep(time.Second)
			c.inserted(c.a, entry(1, "a"))
			c.Elect(campaigntest.Election{Lag: 500 * ms})
			c.shows(c.b, 1)
			c.reads(c.b, 1, "a")
			time.Sleep(500 * ms)
			c.shows(c.b, 2)
		}},
		{"two primaries", func(t *testing.T, c cluster) {
			c.inserted(c.a, entry(0, "a"))
			c.a.Partition()
			done := later(c.a, entry(1, "a"))
			synctest.Wait()
			if err := c.a.Append(t.Context(), entry(1, "again")); !errors.Is(err, campaign.ErrTaken) {
				t.Errorf("append to the old primary: %v, want ErrTaken", err)
			}
			c.inserted(c.b, entry(1, "b"))
			c.inserted(c.b, entry(2, "b"))
			c.shows(c.a, 1)
			c.reads(c.b, 1, "b")
			c.reads(c.a, 0, "outage")
			if err := <-done; !unavailable.Is(err) {
				t.Errorf("append to the old primary: %v, want an outage", err)
			}
			healed := time.Now()
			done = later(c.a, entry(2, "a"))
			synctest.Wait()
			c.Heal()
			if err := <-done; !unavailable.Is(err) || time.Since(healed) != 0 {
				t.Errorf("append to the old primary: %v after %s, want an outage at once", err, time.Since(healed))
			}
			c.reads(c.a, 1, "b")
			c.committed("0a", "1b", "2b")
		}},
		{"what was on its way when the primary was cut off is lost", func(_ *testing.T, c cluster) {
			c.a.SetFaults(campaigntest.Faults{Replicate: 100 * ms})
			done := later(c.a, entry(0, "a"))
			time.Sleep(ms)
			c.a.Partition()
			c.inserted(c.b, entry(0, "b"))
			time.Sleep(200 * ms)
			c.Heal()
			if err := <-done; !unavailable.Is(err) {
				t.Errorf("append to the old primary: %v, want an outage", err)
			}
			c.committed("0b")
		}},
		{"a backup with and without the origin", func(t *testing.T, c cluster) {
			origin := func() string {
				o, err := c.a.Origin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return o
			}
			first := origin()
			c.inserted(c.a, entry(0, "a"))
			b := c.Backup()
			c.inserted(c.a, entry(1, "a"))
			c.Restore(b)
			c.committed("0a")
			if origin() != first {
				t.Error("a restored database has another origin")
			}
			c.inserted(c.b, entry(1, "b"))
			b.Origin = ""
			c.Restore(b)
			if origin() == first {
				t.Error("a database restored without meta has the origin of before")
			}
			c.committed("0a")
		}},
		{"what was appended or read is a copy", func(t *testing.T, c cluster) {
			e := campaign.Entry{Campaign: 1, Kind: campaign.KindArrive, Users: []string{"u"}}
			c.inserted(c.a, e)
			e.Users[0] = "appended"
			for range 2 {
				read, err := c.a.Entry(t.Context(), 1, 0)
				if err != nil || read.Users[0] != "u" {
					t.Errorf("users %v, %v, want u", read.Users, err)
				}
				read.Users[0] = "read"
			}
		}},
		{"the clock steps", func(t *testing.T, c cluster) {
			c.Step(-time.Hour)
			c.a.SetFaults(campaigntest.Faults{Before: 30 * ms, After: 30 * ms})
			now, err := c.a.Now(t.Context())
			if off := time.Since(now); err != nil || off != time.Hour {
				t.Errorf("the clock is %s behind (%v), want 1h", off, err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := campaigntest.NewCluster()
				test.run(t, cluster{c, t, c.Client("a"), c.Client("b")})
			})
		})
	}
}
