package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/redisdb"
	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/revocation/revocationtest"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// soon is the promise, every edge within a second, and as much again for a
// machine that runs other tests at the same time.
const soon = 2 * time.Second

// onBoth runs a test on a real redis-server and on miniredis.
func onBoth(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("redis-server", func(t *testing.T) {
		t.Parallel()
		test(t, testserver.Redis(t).URL())
	})
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		test(t, "redis://"+miniredis.RunT(t).Addr())
	})
}

func connect(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	client, err := redisdb.Connect(redisdb.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// start runs something until the test ends, or until it is told to stop.
func start(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// replica is a process of the identity service.
type replica struct {
	*revocation.Writer
	feed *revocation.Feed
	stop func()
}

var quiet = slog.New(slog.DiscardHandler)

func newReplica(t *testing.T, url string, store revocation.Store) *replica {
	t.Helper()
	client := connect(t, url)
	feed := revocation.NewFeed(revocation.FeedConfig{Redis: client, Log: quiet})
	publisher := revocation.NewPublisher(revocation.PublisherConfig{
		Store: store, Redis: client, Feed: feed, Log: quiet, SweepEvery: 200 * time.Millisecond,
	})
	stopFeed, stopPublisher := start(t, feed.Run), start(t, publisher.Run)
	return &replica{
		Writer: revocation.NewWriter(revocation.WriterConfig{Store: store, Redis: client, Feed: feed}),
		feed:   feed,
		stop:   func() { stopPublisher(); stopFeed() },
	}
}

// newEdge is a plugin process.
func newEdge(t *testing.T, url string) *revocation.Feed {
	t.Helper()
	feed := revocation.NewFeed(revocation.FeedConfig{Redis: connect(t, url), Log: quiet})
	start(t, feed.Run)
	return feed
}

// within polls until a condition holds, and returns how long that took.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !holds() {
		if time.Since(begin) > limit {
			t.Fatalf("%s: not within %s", what, limit)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(begin)
}

// starting is how long a process may take to be ready.
const starting = 10 * time.Second

// looked waits until a feed has looked at Redis often enough to be ready if it
// ever will be, and reports whether it is. Another feed, on a Redis that is
// whole, would be ready many times over by then.
func looked(t *testing.T, feed *revocation.Feed) bool {
	t.Helper()
	end := time.Now().Add(500 * time.Millisecond)
	for time.Now().Before(end) && !feed.Ready() {
		time.Sleep(5 * time.Millisecond)
	}
	return feed.Ready()
}

func expires() time.Time { return time.Now().Add(30 * time.Minute) }

func revoke(t *testing.T, w *replica, jti string) {
	t.Helper()
	if err := w.RevokeToken(t.Context(), jti, expires()); err != nil {
		t.Fatal(err)
	}
}

// raise does what changing an account does, without the account.
func raise(t *testing.T, w *replica, user string, current int64) int64 {
	t.Helper()
	next, err := w.RaiseGeneration(t.Context(), user, current)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AnnounceGeneration(t.Context(), user, next); err != nil {
		t.Fatal(err)
	}
	return next
}

func TestEveryEdgeHears(t *testing.T) {
	onBoth(t, everyEdgeHears)
	// Checked by keys without the tag that keeps them in one slot.
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		everyEdgeHears(t, testserver.RedisCluster(t))
	})
}

func everyEdgeHears(t *testing.T, url string) {
	store := revocationtest.NewMemory()
	one, two := newReplica(t, url, store), newReplica(t, url, store)
	edge := newEdge(t, url)
	within(t, starting, "edge ready", edge.Ready)

	revoke(t, one, "T1")
	if !one.feed.Revoked("T1", "alice", 0) {
		t.Error("the replica that revoked does not know")
	}
	took := within(t, soon, "token at the edge", func() bool { return edge.Revoked("T1", "alice", 0) })
	within(t, soon, "token at the other replica", func() bool { return two.feed.Revoked("T1", "alice", 0) })
	t.Logf("the edge heard of a token in %s", took)
	if edge.Revoked("T2", "alice", 0) {
		t.Error("another token of the user is revoked")
	}

	if got := raise(t, one, "alice", 4); got != 5 {
		t.Errorf("generation = %d, want 5", got)
	}
	within(t, soon, "generation at the edge", func() bool { return edge.Revoked("T3", "alice", 4) })
	if edge.Revoked("T4", "alice", 5) || edge.Revoked("T5", "bob", 0) {
		t.Error("a new token, or one of somebody else, is revoked")
	}
	if got := edge.Generation("alice"); got != 5 {
		t.Errorf("generation at the edge = %d, want 5", got)
	}

	late := newEdge(t, url)
	within(t, starting, "late edge ready", late.Ready)
	if !late.Revoked("T1", "alice", 5) || !late.Revoked("T3", "alice", 4) {
		t.Error("an edge that starts later does not know what was revoked before")
	}
}

func TestRepeatedRevocation(t *testing.T) {
	store := revocationtest.NewMemory()
	r := newReplica(t, "redis://"+miniredis.RunT(t).Addr(), store)
	revoke(t, r, "T1")
	revoke(t, r, "T1")
	if store.Len() != 1 {
		t.Errorf("%d revocations stored, want 1", store.Len())
	}
}

// An edge does not trust a Redis that no identity service has filled.
func TestNotReadyBeforeRedisWasFilled(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		store := revocationtest.NewMemory()
		addToken(t, store, "T1")
		edge := newEdge(t, url)
		if looked(t, edge) {
			t.Fatal("ready on an empty Redis")
		}
		newReplica(t, url, store)
		within(t, soon, "edge ready", edge.Ready)
		if !edge.Revoked("T1", "", 0) {
			t.Error("ready without knowing what MongoDB holds")
		}
	})
}

// addToken stores a revocation as a process that died right after did.
func addToken(t *testing.T, store revocation.Store, jti string) {
	t.Helper()
	now := time.Now()
	err := store.AddRevocation(t.Context(), revocation.Revocation{TokenID: jti, At: now, Until: now.Add(30 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
}

// An emptied, cut or replaced Redis revives no token, at a reader that knew it,
// at a new one, or at one that was there all the time.
func TestLostRevocationsAreRefilled(t *testing.T) {
	for _, test := range []struct {
		name string
		lose func(ctx context.Context, c redis.UniversalClient) error
	}{
		{"emptied", func(ctx context.Context, c redis.UniversalClient) error { return c.FlushAll(ctx).Err() }},
		{"stream deleted", func(ctx context.Context, c redis.UniversalClient) error {
			return c.Del(ctx, revocation.KeyStream).Err()
		}},
		{"state deleted", func(ctx context.Context, c redis.UniversalClient) error {
			return c.Del(ctx, revocation.KeyState).Err()
		}},
		{"stream trimmed past everything", func(ctx context.Context, c redis.UniversalClient) error {
			return c.XTrimMaxLen(ctx, revocation.KeyStream, 0).Err()
		}},
		{"one entry deleted", func(ctx context.Context, c redis.UniversalClient) error {
			entries, err := c.XRangeN(ctx, revocation.KeyStream, "-", "+", 1).Result()
			if err != nil {
				return err
			}
			return c.XDel(ctx, revocation.KeyStream, entries[0].ID).Err()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, url string) {
				client, store := connect(t, url), revocationtest.NewMemory()
				identity := newReplica(t, url, store)
				edge := newEdge(t, url)
				within(t, starting, "edge ready", edge.Ready)
				revoke(t, identity, "T1")
				raise(t, identity, "alice", 0)
				within(t, soon, "edge knows", func() bool { return edge.Revoked("T1", "", 0) && edge.Revoked("", "alice", 0) })

				identity.stop()
				if err := test.lose(t.Context(), client); err != nil {
					t.Fatal(err)
				}
				late := newEdge(t, url)
				if looked(t, late) {
					t.Fatal("a new reader is ready on what is left")
				}
				knows := func(f *revocation.Feed) bool { return f.Revoked("T1", "", 0) && f.Revoked("", "alice", 0) }
				if !knows(edge) || !edge.Ready() {
					t.Error("the old reader forgot")
				}
				again := newReplica(t, url, store)
				within(t, soon, "late reader ready", late.Ready)
				if !knows(late) {
					t.Error("the late reader is ready and knows less than MongoDB")
				}
				revoke(t, again, "T2")
				within(t, soon, "both hear what is new", func() bool {
					return edge.Revoked("T2", "", 0) && late.Revoked("T2", "", 0)
				})
			})
		})
	}
}

func TestKilledRedis(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	store := revocationtest.NewMemory()
	identity := newReplica(t, server.URL(), store)
	other := newReplica(t, server.URL(), store)
	edge := newEdge(t, server.URL())
	within(t, starting, "edge ready", edge.Ready)
	revoke(t, identity, "T1")
	within(t, soon, "edge knows", func() bool { return edge.Revoked("T1", "", 0) })

	server.Kill()
	within(t, 5*time.Second, "edge notices", func() bool { return !edge.Stats().DownSince.IsZero() })
	if !edge.Ready() || !edge.Revoked("T1", "", 0) {
		t.Error("the edge forgot while Redis is down")
	}
	var pending *revocation.PendingError
	if err := identity.RevokeToken(t.Context(), "T2", expires()); !errors.As(err, &pending) || !unavailable.Is(err) {
		t.Errorf("revoke while Redis is down: %v, want a PendingError and an outage", err)
	}
	if !identity.feed.Revoked("T2", "", 0) || !identity.Pending("T2") {
		t.Error("the replica that stored it does not obey, or does not know that the edges do not")
	}
	within(t, 3*time.Second, "the other replica hears through the store", func() bool {
		return other.feed.Revoked("T2", "", 0) && other.Pending("T2")
	})
	late := newEdge(t, server.URL())
	if looked(t, late) {
		t.Error("ready without Redis")
	}

	server.Start()
	took := within(t, soon, "edge hears of what was pending", func() bool { return edge.Revoked("T2", "", 0) })
	t.Logf("healed %s after Redis was back", took)
	within(t, soon, "late reader ready", late.Ready)
	if !late.Revoked("T1", "", 0) || !late.Revoked("T2", "", 0) {
		t.Error("the late reader is ready and knows less than MongoDB")
	}
	within(t, soon, "nothing is pending", func() bool { return !identity.Pending("T2") && !other.Pending("T2") })
	within(t, soon, "edge says that Redis is back", func() bool { return edge.Stats().DownSince.IsZero() })
}

// A restarted server that kept its data is trusted once it was compared with
// MongoDB, and nothing is filled anew. Checked by an edge that is ready with the
// first beat it sees.
func TestRestartedRedis(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	store := revocationtest.NewMemory()
	identity := newReplica(t, server.URL(), store)
	within(t, starting, "identity ready", identity.feed.Ready)
	revoke(t, identity, "T1")
	client := connect(t, server.URL())
	within(t, starting, "a beat", func() bool { return !stateOf(t, client).Beat.IsZero() })
	identity.stop()
	kept, before := client.XLen(t.Context(), revocation.KeyStream).Val(), stateOf(t, client)
	server.Kill()
	server.Start()
	edge := newEdge(t, server.URL())
	if looked(t, edge) {
		t.Fatal("ready on a server that was not compared with MongoDB since the edge began")
	}
	newReplica(t, server.URL(), store)
	within(t, soon, "edge ready", edge.Ready)
	if after := stateOf(t, client); after.Epoch != before.Epoch {
		t.Errorf("epoch %s, want %s still", after.Epoch, before.Epoch)
	}
	entries, err := client.XLen(t.Context(), revocation.KeyStream).Result()
	if err != nil || kept < 2 || entries != kept {
		t.Errorf("%d entries (%v), want the %d that the server had kept", entries, err, kept)
	}
	if !edge.Revoked("T1", "", 0) {
		t.Error("the edge does not know what was revoked before the restart")
	}
}

func stateOf(t *testing.T, client redis.UniversalClient) revocation.State {
	t.Helper()
	st, err := revocation.Look(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// A stream that was rolled back is noticed and filled under a new epoch: what
// was lost is in it again, at a new edge and at one that forgot nothing
// meanwhile. Checked by leaving out broken, and the look at the last entry, in Take.
func TestRolledBack(t *testing.T) {
	for _, test := range []struct {
		name string
		then func(ctx context.Context, tx redis.Pipeliner, last string)
	}{
		{"as it was", func(context.Context, redis.Pipeliner, string) {}},
		{"and somebody announced since", func(ctx context.Context, tx redis.Pipeliner, last string) {
			id := fmt.Sprintf("%d-0", time.Now().Add(time.Second).UnixMilli())
			tx.XAdd(ctx, &redis.XAddArgs{Stream: revocation.KeyStream, ID: id, Values: []any{"jti", "T3", "until", expires().UnixMilli(), "prev", last}})
			tx.HSet(ctx, revocation.KeyState, "last", id)
			tx.HIncrBy(ctx, revocation.KeyState, "count", 1)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url := testserver.Redis(t).URL()
			client, store := connect(t, url), revocationtest.NewMemory()
			identity, other, edge := newReplica(t, url, store), newReplica(t, url, store), newEdge(t, url)
			within(t, starting, "edge ready", edge.Ready)
			revoke(t, identity, "T1")
			within(t, soon, "edge knows", func() bool { return edge.Revoked("T1", "", 0) })
			before := stateOf(t, client).Epoch
			last := client.HGet(t.Context(), revocation.KeyState, "last").Val()
			file := map[string]string{}
			for _, key := range []string{revocation.KeyStream, revocation.KeyState} {
				file[key] = client.Dump(t.Context(), key).Val()
			}
			revoke(t, identity, "T2")
			within(t, soon, "all know", func() bool {
				return edge.Revoked("T2", "", 0) && other.feed.Revoked("T2", "", 0) && !other.Pending("T2")
			})

			_, err := client.TxPipelined(t.Context(), func(tx redis.Pipeliner) error {
				for key, value := range file {
					tx.RestoreReplace(t.Context(), key, 0, value)
				}
				test.then(t.Context(), tx, last)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			within(t, soon, "a new epoch with a beat", func() bool {
				st := stateOf(t, client)
				return st.Epoch != before && !st.Beat.IsZero()
			})
			late := newEdge(t, url)
			within(t, soon, "a new edge ready", late.Ready)
			if !late.Revoked("T1", "", 0) || !late.Revoked("T2", "", 0) {
				t.Error("a new edge does not know what was lost")
			}
			if !edge.Ready() || !edge.Revoked("T2", "", 0) {
				t.Error("the old edge forgot")
			}
			revoke(t, other, "T4")
			within(t, soon, "both hear what is new", func() bool { return edge.Revoked("T4", "", 0) && late.Revoked("T4", "", 0) })
		})
	}
}

// A server that was replaced, followed its replacement, and is the primary again
// has lost what it took meanwhile.
func TestFailBack(t *testing.T) {
	t.Parallel()
	atOnce := []string{"--repl-diskless-sync-delay", "0"}
	one, two := testserver.Redis(t, atOnce...), testserver.Redis(t, atOnce...)
	first, second, store := connect(t, one.URL()), connect(t, two.URL()), revocationtest.NewMemory()
	takeOver := func(to redis.UniversalClient, of *testserver.RedisServer) {
		t.Helper()
		if err := to.Do(t.Context(), "REPLICAOF", "127.0.0.1", of.Port()).Err(); err != nil {
			t.Fatal(err)
		}
		within(t, 30*time.Second, "the replica follows", func() bool {
			return strings.Contains(to.Info(t.Context(), "replication").Val(), "master_link_status:up")
		})
		if err := to.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
			t.Fatal(err)
		}
	}
	identity, edge := newReplica(t, one.URL(), store), newEdge(t, one.URL())
	within(t, starting, "edge ready", edge.Ready)
	revoke(t, identity, "T1")
	takeOver(second, one)
	revoke(t, identity, "T2")
	within(t, soon, "edge knows", func() bool { return edge.Revoked("T2", "", 0) && !identity.Pending("T2") })
	before := stateOf(t, first).Epoch
	takeOver(first, two)
	within(t, starting, "a new epoch with a beat", func() bool { // the connections must come back first
		st := stateOf(t, first)
		return st.Epoch != before && !st.Beat.IsZero()
	})
	late := newEdge(t, one.URL())
	within(t, starting, "a new edge ready", late.Ready)
	if !late.Revoked("T1", "", 0) || !late.Revoked("T2", "", 0) || !edge.Revoked("T2", "", 0) {
		t.Error("what the server lost is not known everywhere")
	}
}

// The Redis of another database is left alone, and the identity service obeys
// what it cannot announce.
func TestForeignRedis(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		ours, theirs := revocationtest.NewMemory(), revocationtest.NewMemory()
		client := connect(t, url)
		owner := newReplica(t, url, theirs)
		within(t, starting, "owner's beat", func() bool { return !stateOf(t, client).Beat.IsZero() })
		addToken(t, ours, "T1")
		stranger := newReplica(t, url, ours)
		within(t, starting, "it says so", func() bool { return stranger.feed.Stats().Foreign })
		err := stranger.RevokeToken(t.Context(), "T2", expires())
		if !errors.As(err, new(*revocation.PendingError)) || !errors.As(err, new(*revocation.ForeignError)) {
			t.Errorf("revoke: %v, want a PendingError that is a ForeignError", err)
		}
		within(t, starting, "ready by its store", func() bool { return stranger.feed.Ready() && stranger.feed.Revoked("T1", "", 0) })
		if !stranger.feed.Revoked("T2", "", 0) || !stranger.Pending("T2") {
			t.Error("what was stored is not obeyed, or the edges are said to know")
		}
		if owner.feed.Stats().Foreign || owner.feed.Revoked("T1", "", 0) || owner.feed.Revoked("T2", "", 0) {
			t.Error("the owner heard of another database's revocations")
		}
		origin, _ := theirs.Origin(t.Context())
		if got := stateOf(t, client).Origin; got != origin {
			t.Errorf("origin %q, want %q still", got, origin)
		}

		owner.stop() // and its keys are removed: the Redis is to be used for ours
		if err := client.Del(t.Context(), revocation.KeyStream, revocation.KeyState).Err(); err != nil {
			t.Fatal(err)
		}
		edge := newEdge(t, url)
		within(t, starting, "edge ready", edge.Ready)
		if !edge.Revoked("T1", "", 0) || !edge.Revoked("T2", "", 0) || stranger.feed.Stats().Foreign {
			t.Error("an emptied Redis was not filled")
		}
	})
}

func TestCrashBetweenStoreAndRedis(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		store := revocationtest.NewMemory()
		newReplica(t, url, store)
		edge := newEdge(t, url)
		within(t, starting, "edge ready", edge.Ready)
		addToken(t, store, "T1")
		within(t, soon, "edge knows", func() bool { return edge.Revoked("T1", "", 0) })
	})
}

// The store alone makes an identity service ready: it does not need Redis to
// know what is revoked.
func TestIdentityWithoutRedis(t *testing.T) {
	t.Parallel()
	server := testserver.Redis(t)
	server.Kill()
	store := revocationtest.NewMemory()
	addToken(t, store, "T1")
	identity := newReplica(t, server.URL(), store)
	within(t, starting, "identity ready", identity.feed.Ready)
	if !identity.feed.Revoked("T1", "", 0) {
		t.Error("ready without knowing what the store holds")
	}
}

// Without MongoDB an emptied Redis stays unfit, and heals with it.
func TestStoreDown(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		store := revocationtest.NewMemory()
		addToken(t, store, "T1")
		store.Down(true)
		identity := newReplica(t, url, store)
		edge := newEdge(t, url)
		if looked(t, edge) || identity.feed.Ready() {
			t.Fatal("ready though MongoDB was never read")
		}
		if err := identity.RevokeToken(t.Context(), "T2", expires()); !unavailable.Is(err) || errors.As(err, new(*revocation.PendingError)) {
			t.Errorf("revoke without MongoDB: %v, want an outage and nothing pending", err)
		}
		store.Down(false)
		within(t, soon, "edge ready", func() bool { return edge.Ready() && identity.feed.Ready() })
		if !edge.Revoked("T1", "", 0) {
			t.Error("ready without knowing what MongoDB holds")
		}
	})
}

func TestWritersGetGenerationsOfTheirOwn(t *testing.T) {
	store := revocationtest.NewMemory()
	url := "redis://" + miniredis.RunT(t).Addr()
	const writers = 8
	got := make([]int64, writers)
	var done sync.WaitGroup
	for i := range writers {
		w := revocation.NewWriter(revocation.WriterConfig{Store: store, Redis: connect(t, url)})
		done.Go(func() {
			var err error
			if got[i], err = w.RaiseGeneration(t.Context(), "alice", 7); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	slices.Sort(got)
	if want := []int64{8, 9, 10, 11, 12, 13, 14, 15}; !slices.Equal(got, want) {
		t.Errorf("generations = %v, want %v", got, want)
	}
}

// Replicas that find Redis emptied at the same moment fill it together.
func TestReplicasFillTogether(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		store := revocationtest.NewMemory()
		const tokens = 1200 // two pages
		for i := range tokens {
			addToken(t, store, fmt.Sprint(i))
		}
		for range 3 {
			newReplica(t, url, store)
		}
		edge := newEdge(t, url)
		within(t, starting, "edge ready", edge.Ready)
		for round := range 3 {
			if err := connect(t, url).FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			late := newEdge(t, url)
			within(t, starting, "late reader ready", late.Ready)
			if got := late.Stats().Tokens; got != tokens {
				t.Errorf("round %d: ready with %d tokens, want %d", round, got, tokens)
			}
		}
	})
}
