package mirror_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
)

// replica fills the mirror with a history and raises its beat once a second, as
// an identity does, until ctx ends.
func replica(ctx context.Context, m campaign.Mirror, mu *sync.Mutex, h *campaigntest.History) {
	for ctx.Err() == nil {
		mu.Lock()
		state, err := m.State(ctx)
		if err == nil {
			from := int(state.Seq) + 1
			if !state.Intact || state.Epoch != h.Epoch {
				from = 0
			}
			b := h.Batch(min(from, len(h.Entries)), len(h.Entries))
			b.Beat = time.Now()
			_, _ = m.Apply(ctx, b)
		}
		mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// follow runs a Tail until the test ends.
func follow(t *testing.T, client redis.UniversalClient, log *slog.Logger) *mirror.View {
	t.Helper()
	view := mirror.NewView(mirror.ViewConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := mirror.NewTail(mirror.TailConfig{Redis: client, View: view, Log: log}).Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return view
}

// What the log says reaches an edge within a second: a void, and a raise by
// 10,000 as one number; also after Redis has lost everything.
func TestTailOnRedis(t *testing.T) {
	server := testserver.Redis(t)
	admin := connect(t, server.URL())
	writer := newMirror(t, server.User("identity", identityRights...))
	client := connect(t, server.User("edge", edgeRights...))
	reader := mirror.New(mirror.Config{Redis: client})
	h := campaigntest.NewHistory(origin, 1, 2)
	h.Arrive("a", 5)
	var mu sync.Mutex
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); replica(ctx, writer, &mu, h) }()
	t.Cleanup(func() { cancel(); <-done })

	var out testserver.Output
	view := follow(t, client, slog.New(slog.NewTextHandler(&out, nil)))
	users := map[string]*mirror.User{}
	for i := range 5 {
		name := fmt.Sprint("a", i+1)
		users[name] = view.Watch(name)
	}
	knows := func(name string) mirror.Knowledge {
		g, k := view.Grant(users[name])
		if k == mirror.Unread {
			if s, err := reader.Standing(t.Context(), name); err == nil {
				g, k = view.Learn(users[name], s)
			}
		}
		if k == mirror.Granted && fmt.Sprint("a", g.Rank) != name {
			t.Fatalf("%s has %+v", name, g)
		}
		return k
	}
	await := func(what string, limit time.Duration, want map[string]mirror.Knowledge) {
		t.Helper()
		began := time.Now()
		testserver.Eventually(t, what, func() bool {
			for name, k := range want {
				if knows(name) != k {
					return false
				}
			}
			return true
		})
		took := time.Since(began)
		t.Logf("%s: after %s", what, took.Round(time.Millisecond))
		if took > limit {
			t.Errorf("%s: after %s, want %s at most", what, took, limit)
		}
	}
	add := func(e campaign.Entry) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		h.Add(e)
		n := len(h.Entries)
		if _, err := writer.Apply(t.Context(), h.Batch(n-1, n)); err != nil {
			t.Fatal(err)
		}
	}
	await("start", 20*time.Second, map[string]mirror.Knowledge{"a1": mirror.Granted, "a2": mirror.Granted, "a3": mirror.NotGranted, "a5": mirror.NotGranted})
	add(campaign.Entry{Kind: campaign.KindVoid, User: "a1", Limit: 3})
	await("void", time.Second, map[string]mirror.Knowledge{"a1": mirror.NotGranted, "a3": mirror.Granted, "a4": mirror.NotGranted})
	settings := *h.Entries[0].Settings
	settings.Slots = 10_002
	add(campaign.Entry{Kind: campaign.KindChange, Limit: 10_003, Settings: &settings})
	await("raise", time.Second, map[string]mirror.Knowledge{"a1": mirror.NotGranted, "a4": mirror.Granted, "a5": mirror.Granted})
	if err := admin.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	add(campaign.Entry{Kind: campaign.KindReinstate, User: "a1", Limit: 10_003})
	await("after a flush", 5*time.Second, map[string]mirror.Knowledge{"a1": mirror.Granted, "a5": mirror.Granted})
	server.Kill()
	await("without redis", time.Second, map[string]mirror.Knowledge{"a1": mirror.Granted, "a5": mirror.Granted})
	testserver.Eventually(t, "the tail notices", func() bool { return !view.Live() })
	server.Start()
	server.User("identity", identityRights...) // a server forgets its users
	server.User("edge", edgeRights...)
	add(campaign.Entry{Kind: campaign.KindVoid, User: "a5", Limit: 10_003})
	await("after a start", 20*time.Second, map[string]mirror.Knowledge{"a1": mirror.Granted, "a5": mirror.NotGranted})
	if log := out.String(); strings.Count(log, "is not followed") != 1 || strings.Count(log, "followed again") != 1 {
		t.Errorf("it says %s", log)
	}
}

// A Tail works in a cluster, where everything that it reads has one slot.
func TestTailInCluster(t *testing.T) {
	client := connect(t, testserver.RedisCluster(t))
	m := mirror.New(mirror.Config{Redis: client, Timeout: 5 * time.Second})
	h := campaigntest.NewHistory(origin, 1, 2)
	h.Arrive("a", 1)
	view := follow(t, client, slog.New(slog.DiscardHandler))
	if _, err := m.Apply(t.Context(), h.All()); err != nil {
		t.Fatal(err)
	}
	testserver.Eventually(t, "it is read", view.Live)
	u := view.Watch("b1")
	h.Arrive("b", 1)
	n := len(h.Entries)
	if _, err := m.Apply(t.Context(), h.Batch(n-1, n)); err != nil {
		t.Fatal(err)
	}
	testserver.Eventually(t, "the arrival is observed", func() bool { g, _ := view.Grant(u); return g.Rank == 2 })
}

// What a Tail does about a mirror that it cannot follow: another database's, and
// one with an entry that is none. It says so once, and goes on when that is over.
func TestTailWithAMirrorThatCannotBeFollowed(t *testing.T) {
	const bad = "9999999999-1"
	for name, test := range map[string]struct {
		damage, mend func(ctx context.Context, client redis.UniversalClient) error
		says         string
	}{
		"another database's": {
			func(ctx context.Context, c redis.UniversalClient) error {
				return c.HSet(ctx, mirror.KeyCampaign, "origin", "ANOTHER").Err()
			},
			func(ctx context.Context, c redis.UniversalClient) error {
				return c.HSet(ctx, mirror.KeyCampaign, "origin", origin).Err()
			},
			"ANOTHER",
		},
		"an entry that is none": {
			func(ctx context.Context, c redis.UniversalClient) error {
				return c.XAdd(ctx, &redis.XAddArgs{Stream: mirror.KeyLog, ID: bad, Values: []any{"entry", "{"}}).Err()
			},
			func(ctx context.Context, c redis.UniversalClient) error { return c.XDel(ctx, mirror.KeyLog, bad).Err() },
			bad,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := miniredis.RunT(t)
			client := connect(t, "redis://"+server.Addr())
			h := campaigntest.NewHistory(origin, 1, 2)
			h.Arrive("a", 1)
			if _, err := mirror.New(mirror.Config{Redis: client}).Apply(t.Context(), h.All()); err != nil {
				t.Fatal(err)
			}
			var out testserver.Output
			view := follow(t, client, slog.New(slog.NewTextHandler(&out, nil)))
			testserver.Eventually(t, "it is followed", view.Live)
			if err := test.damage(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			testserver.Eventually(t, "it is no longer live", func() bool { return !view.Live() })
			testserver.Eventually(t, "it says so", func() bool { return strings.Contains(out.String(), test.says) })
			looks := server.CommandCount()
			testserver.Eventually(t, "it has looked again", func() bool { return server.CommandCount() > looks+3 })
			if view.Live() || strings.Count(out.String(), test.says) != 1 {
				t.Errorf("live %v; it says %s", view.Live(), out.String())
			}
			if err := test.mend(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			testserver.Eventually(t, "it goes on", view.Live)
		})
	}
}
