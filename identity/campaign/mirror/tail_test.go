package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
func follow(t *testing.T, source mirror.Source, log *slog.Logger) *mirror.View {
	t.Helper()
	view := mirror.NewView(mirror.ViewConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := mirror.NewTail(mirror.TailConfig{Source: source, View: view, Log: log}).Run(ctx); err != nil {
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
	writer := newMirror(t, withUser(t, server, "identity", identityRights))
	reader := newMirror(t, withUser(t, server, "edge", edgeRights))
	h := campaigntest.NewHistory(origin, 1, 2)
	h.Arrive("a", 5)
	var mu sync.Mutex
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); replica(ctx, writer, &mu, h) }()
	t.Cleanup(func() { cancel(); <-done })

	view := follow(t, reader, slog.New(slog.DiscardHandler))
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
	await := func(what string, want map[string]mirror.Knowledge) {
		t.Helper()
		began := time.Now()
		eventually(t, what, func() bool {
			for name, k := range want {
				if knows(name) != k {
					return false
				}
			}
			return true
		})
		t.Logf("%s: after %s", what, time.Since(began).Round(time.Millisecond))
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
	await("start", map[string]mirror.Knowledge{"a1": mirror.Granted, "a2": mirror.Granted, "a3": mirror.NotGranted, "a5": mirror.NotGranted})
	add(campaign.Entry{Kind: campaign.KindVoid, User: "a1", Limit: 3})
	await("void", map[string]mirror.Knowledge{"a1": mirror.NotGranted, "a3": mirror.Granted, "a4": mirror.NotGranted})
	settings := *h.Entries[0].Settings
	settings.Slots = 10_002
	add(campaign.Entry{Kind: campaign.KindChange, Limit: 10_003, Settings: &settings})
	await("raise", map[string]mirror.Knowledge{"a1": mirror.NotGranted, "a4": mirror.Granted, "a5": mirror.Granted})
	if err := admin.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	add(campaign.Entry{Kind: campaign.KindReinstate, User: "a1", Limit: 10_003})
	await("after a flush", map[string]mirror.Knowledge{"a1": mirror.Granted, "a5": mirror.Granted})
	server.Kill()
	await("without redis", map[string]mirror.Knowledge{"a1": mirror.Granted, "a5": mirror.Granted})
	eventually(t, "the tail notices", func() bool { return !view.Live() })
	server.Start()
	withUser(t, server, "identity", identityRights) // a server forgets its users
	withUser(t, server, "edge", edgeRights)
	add(campaign.Entry{Kind: campaign.KindVoid, User: "a5", Limit: 10_003})
	await("after a start", map[string]mirror.Knowledge{"a1": mirror.Granted, "a5": mirror.NotGranted})
}

// While the mirror cannot be read a Tail tries again, at most ten times in the
// first second and once a second later, and says so once.
func TestTailBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := campaigntest.NewMirror()
		m.Fail(errors.New("refused"))
		var out strings.Builder
		source := &counting{Source: m}
		view := follow(t, source, slog.New(slog.NewTextHandler(&out, nil)))
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := source.n.Load(); n < 55 || n > 70 {
			t.Errorf("%d attempts in a minute", n)
		}
		if view.Live() || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("live %v; it says %s", view.Live(), out.String())
		}
		m.Calm()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !strings.Contains(out.String(), "followed again") {
			t.Errorf("it says %s", out.String())
		}
	})
}

// counting counts the looks of a Tail.
type counting struct {
	mirror.Source
	n atomic.Int64
}

func (c *counting) Summary(ctx context.Context) (mirror.Summary, error) {
	c.n.Add(1)
	return c.Source.Summary(ctx)
}

// Another database's mirror is not followed, and the log says whose it is.
func TestTailDoesNotFollowAnotherDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := campaigntest.NewMirror()
		h := campaigntest.NewHistory(origin, 1, 2)
		h.Arrive("a", 1)
		if _, err := m.Apply(t.Context(), h.All()); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		view := follow(t, m, slog.New(slog.NewTextHandler(&out, nil)))
		time.Sleep(time.Second)
		m.SwapOrigin("ANOTHER")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if view.Live() || strings.Count(out.String(), "ANOTHER") != 1 || !strings.Contains(out.String(), origin) {
			t.Errorf("live %v; it says %s", view.Live(), out.String())
		}
		m.SwapOrigin(origin)
		time.Sleep(time.Second)
		synctest.Wait()
		if !view.Live() {
			t.Error("it does not go on with its own database")
		}
	})
}
