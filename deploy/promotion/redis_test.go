package promotion_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
)

// Rules 1 to 5 and 7: whatever is done to Redis while users log in, they get their
// places, and what edges tell is the log's; the mirror is whole again afterwards.
//
// It failed when a mirror was taken to be intact without counting its parts.
func TestRedisFaults(t *testing.T) {
	ask := func(client redis.UniversalClient, args ...any) error {
		return client.Do(context.Background(), args...).Err()
	}
	for _, test := range []struct {
		name string
		do   func(w *world, server *testserver.RedisServer) error
	}{
		{"flushall", func(w *world, _ *testserver.RedisServer) error { return ask(w.client, "FLUSHALL") }},
		{"an old file", func(w *world, server *testserver.RedisServer) error {
			server.Kill()
			aof := filepath.Join(server.Dir(), "appendonlydir")
			if err := errors.Join(os.RemoveAll(aof), os.CopyFS(aof, os.DirFS(aof+"-old"))); err != nil {
				return err
			}
			server.Start()
			return nil
		}},
		{"the summary is evicted", func(w *world, _ *testserver.RedisServer) error { return ask(w.client, "DEL", mirror.KeyCampaign) }},
		{"the places are evicted", func(w *world, _ *testserver.RedisServer) error { return ask(w.client, "DEL", mirror.KeyArrivals) }},
		{"the voids are evicted", func(w *world, _ *testserver.RedisServer) error { return ask(w.client, "DEL", mirror.KeyVoided) }},
		{"the stream is evicted", func(w *world, _ *testserver.RedisServer) error { return ask(w.client, "DEL", mirror.KeyLog) }},
		{"one place is gone", func(w *world, _ *testserver.RedisServer) error {
			return ask(w.client, "ZREM", mirror.KeyArrivals, user(1))
		}},
		{"out of memory", func(w *world, _ *testserver.RedisServer) error {
			err := ask(w.client, "CONFIG", "SET", "maxmemory", "1")
			w.crowd(1000, 1040, 8)
			return errors.Join(err, ask(w.client, "CONFIG", "SET", "maxmemory", "0"))
		}},
		{"another database of the server", func(w *world, _ *testserver.RedisServer) error { return ask(w.client, "SWAPDB", 0, 1) }},
		{"a second of silence", func(w *world, _ *testserver.RedisServer) error { return ask(w.client, "CLIENT", "PAUSE", 1000) }},
		{"a read replica", func(w *world, server *testserver.RedisServer) error {
			err := ask(w.client, "REPLICAOF", "127.0.0.1", "1") // of nobody that answers: it refuses writes
			w.crowd(1000, 1040, 8)
			return errors.Join(err, ask(w.client, "REPLICAOF", "NO", "ONE"))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // each has servers of its own, and most of the time is waiting
			server := testserver.Redis(t)
			w := newWorld(t, server.URL())
			w.start(60, 2000)
			w.run(2)
			gateway := w.edge(server.URL())
			w.crowd(0, 30, 8)
			w.complete()
			server.Stop()
			aof := filepath.Join(server.Dir(), "appendonlydir")
			if err := os.CopyFS(aof+"-old", os.DirFS(aof)); err != nil {
				t.Fatal(err)
			}
			server.Start()
			w.crowd(30, 100, 8)
			w.commit(campaign.Void(user(3)))

			stop, started := make(chan struct{}), make(chan struct{})
			var clients sync.WaitGroup
			for c := range 4 {
				clients.Go(func() {
					for n := 100 + c; ; n += 4 {
						select {
						case <-stop:
							return
						default:
						}
						if p := w.login(w.replicas[n%2], user(n)); p.Status == campaign.StatusPending {
							gateway.tell(user(n), p.Place)
						} else {
							t.Errorf("%s was told %s", user(n), p.Status)
						}
						gateway.grant(user(n % 100))
						if n == 120 {
							close(started)
						}
						time.Sleep(5 * time.Millisecond)
					}
				})
			}
			<-started
			if err := test.do(w, server); err != nil {
				t.Error(err)
			}
			w.complete()
			close(stop)
			clients.Wait()
			w.agree(w.edge(server.URL()), 100)
			w.agree(gateway, 100)
			w.verdict()
		})
	}
}

// Rule 7 without INFO, WAIT and every dangerous command.
//
// It failed with a user who may not run scripts.
func TestRedisRights(t *testing.T) {
	server := testserver.Redis(t)
	w := newWorld(t, server.URL())
	if err := w.client.Do(t.Context(), "ACL", "SETUSER", "identity", "reset", "on", ">secret", "~earlybird:*", "&*",
		"+@read", "+@write", "+@scripting", "+@connection", "-@dangerous", "-info", "-wait").Err(); err != nil {
		t.Fatal(err)
	}
	w.start(10, 10)
	url := fmt.Sprintf("redis://identity:secret@127.0.0.1:%d/0", server.Port())
	w.replica(replicaConfig{redisURL: url})
	w.replica(replicaConfig{redisURL: url})
	w.crowd(0, 30, 8)
	w.verdict()
	if s := w.replicas[0].Stats(); !s.MirrorUp {
		t.Error("the replica says that it cannot use Redis")
	}
}

// Rule 8's margin: a mirror of another database is not touched; logins go on, and
// edges say nothing of it.
//
// It failed when apply did not compare origins.
func TestForeignRedis(t *testing.T) {
	server := testserver.Redis(t)
	theirs := newWorld(t, server.URL())
	theirs.start(5, 5)
	theirs.run(1)
	theirs.crowd(0, 7, 2)
	theirs.complete()
	theirs.replicas[0].stop()
	before, err := theirs.mirror.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	own := testserver.Redis(t)
	w := newWorld(t, own.URL())
	w.start(5, 5)
	w.replica(replicaConfig{redisURL: server.URL()})
	if p := w.login(w.replicas[0], user(50)); p.Status != campaign.StatusPending {
		t.Errorf("the login was told %s", p.Status)
	} else if out := w.edge(server.URL()).tell(user(50), p.Place); out.Status != campaign.StatusPending {
		t.Errorf("the gateway tells %s", out.Status)
	}
	w.await("it is noticed", 10*time.Second, func() error {
		if !w.replicas[0].Stats().Foreign {
			return errors.New("not yet")
		}
		return nil
	})
	after, err := theirs.mirror.State(t.Context())
	if before.Beat = after.Beat; err != nil || after != before {
		t.Errorf("the other database's mirror became %+v, was %+v, %v", after, before, err)
	}
	foreign := mirror.New(mirror.Config{Redis: theirs.client})
	admin := campaign.NewAdmin(campaign.AdminConfig{Store: w.store, Mirror: foreign, By: "admin"})
	if _, err := admin.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	var refused *campaign.ForeignError
	if _, err := admin.Commit(t.Context(), campaign.Pause()); !errors.As(err, &refused) {
		t.Errorf("a command: %v, want a ForeignError", err)
	}
	if err := admin.Adopt(t.Context(), after); err != nil {
		t.Fatal(err)
	}
	w.mirror = foreign
	w.verdict() // it is filled from this database then
}

// Rules 1 to 4: a partition of Redis with replicas and edges on both sides. Each side
// is a prefix of the one log; and so it is healed, with either side's data.
//
// It did not end when an insert that found its place taken counted as decided: turns
// are given on both sides.
func TestRedisSplit(t *testing.T) {
	one := testserver.Redis(t)
	two := testserver.Redis(t, testserver.WithRedisArgs("--replicaof", fmt.Sprintf("127.0.0.1 %d", one.Port()), "--repl-diskless-sync-delay", "0"))
	w := newWorld(t, one.URL())
	w.start(40, 2000)
	w.replica(replicaConfig{})
	w.replica(replicaConfig{redisURL: two.URL()})
	edges := []*edge{w.edge(one.URL()), w.edge(two.URL())}
	far := w.connect(two.URL())
	w.crowd(0, 20, 8)
	w.await("the copy is whole", 20*time.Second, func() error {
		state, err := mirror.New(mirror.Config{Redis: far}).State(t.Context())
		if err == nil {
			err = campaigntest.CheckComplete(state, w.log())
		}
		return err
	})
	if err := far.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	ask := func(from, to int) {
		var clients sync.WaitGroup
		for side := range 2 {
			clients.Go(func() {
				for n := from + side; n < to; n += 2 {
					if p := w.login(w.replicas[side], user(n)); p.Status == campaign.StatusPending {
						edges[side].tell(user(n), p.Place)
					} else {
						t.Errorf("%s was told %s", user(n), p.Status)
					}
					edges[1-side].grant(user(n))
				}
			})
		}
		clients.Wait()
	}
	ask(20, 120)
	for _, client := range []redis.UniversalClient{w.client, far} {
		state, err := mirror.New(mirror.Config{Redis: client}).State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := campaigntest.CheckMirror(state, w.log()); err != nil {
			t.Error(err)
		}
	}
	if err := far.Do(t.Context(), "REPLICAOF", "127.0.0.1", one.Port()).Err(); err != nil { // healed
		t.Fatal(err)
	}
	ask(120, 160)
	w.placed(0, 160)
	w.verdict()
}

// Rules 1 to 5 over a fail-over by Sentinel: the primary is killed, and the copy that
// is promoted may lack the last entries.
//
// It failed with commands sent to the address of the first primary.
func TestSentinelFailover(t *testing.T) {
	primary := testserver.Redis(t)
	copied := testserver.Redis(t, testserver.WithRedisArgs("--replicaof", fmt.Sprintf("127.0.0.1 %d", primary.Port()), "--repl-diskless-sync-delay", "0"))
	address := testserver.Sentinel(t, primary.Port(), "down-after-milliseconds m 1000", "failover-timeout m 3000")
	asked := redis.NewSentinelClient(&redis.Options{Addr: address})
	defer func() { _ = asked.Close() }()
	url := "redis+sentinel://" + address + "?master=m"
	w := newWorld(t, url)
	w.await("the sentinel knows the copy", 30*time.Second, func() error {
		replicas, err := asked.Replicas(t.Context(), "m").Result()
		if err == nil && (len(replicas) != 1 || replicas[0]["master-link-status"] != "ok") {
			err = errors.New("not yet")
		}
		return err
	})
	w.start(50, 2000)
	w.run(2)
	gateway := w.edge(url)
	w.crowd(0, 50, 8)
	var clients sync.WaitGroup
	clients.Go(func() { w.crowd(50, 200, 4) })
	primary.Kill()
	clients.Wait()
	w.await("the copy is the primary", 30*time.Second, func() error {
		at, err := asked.GetMasterAddrByName(t.Context(), "m").Result()
		if err == nil && at[1] != strconv.Itoa(copied.Port()) {
			err = errors.New("not yet")
		}
		return err
	})
	w.complete()
	for n := 200; n < 240; n++ {
		if p := w.login(w.replicas[n%2], user(n)); p.Status == campaign.StatusPending {
			gateway.tell(user(n), p.Place)
		}
		gateway.grant(user(n - 200))
	}
	w.placed(0, 240)
	w.verdict()
}

// The whole in a Redis Cluster, which refuses scripts whose keys are of several
// slots.
//
// It failed with a key without the hash tag.
func TestCluster(t *testing.T) {
	url := testserver.RedisCluster(t)
	w := newWorld(t, url)
	w.start(20, 100)
	w.run(2)
	gateway := w.edge(url)
	w.crowd(0, 40, 8)
	w.complete()
	w.commit(campaign.Void(user(2)))
	w.commit(campaign.Revise(func(s *campaign.Settings) { s.Slots += 5 }))
	for n := range 40 {
		gateway.grant(user(n))
	}
	w.verdict()
}
