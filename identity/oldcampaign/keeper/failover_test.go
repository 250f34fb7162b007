package keeper_test

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
)

// guarded is how the servers are set: a primary that no replica follows takes
// no writes, so that one which was replaced and does not know cannot grant.
func guarded(more ...string) testserver.RedisOption {
	return testserver.WithRedisArgs(append([]string{
		"--repl-diskless-sync-delay", "0", "--repl-timeout", "5", "--min-replicas-to-write", "1", "--min-replicas-max-lag", "5",
	}, more...)...)
}

// Rules 1 to 4 and 6 over a fail-over by Sentinel: three sentinels, three
// servers, and the primary killed with -9 during claims that wait for both
// replicas, because either may be promoted. Checked by a Claimer that waits for
// none: ranks that were told are then another's, in every run. Not comparing
// run ids in claim.lua shows in TestClusterFailover as conflicts, or as a
// restore that never ends.
func TestSentinelFailover(t *testing.T) {
	primary := testserver.Redis(t, guarded())
	for range 2 {
		testserver.Redis(t, guarded("--replicaof", fmt.Sprintf("127.0.0.1 %d", primary.Port())))
	}
	var addrs []string
	for range 3 {
		addrs = append(addrs, sentinel(t, primary.Port()))
	}
	for _, addr := range addrs {
		client := redis.NewSentinelClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = client.Close() })
		eventually(t, "the sentinel knows the replicas and the other sentinels", func() bool {
			replicas, err := client.Replicas(t.Context(), "m").Result()
			others, err2 := client.Sentinels(t.Context(), "m").Result()
			return err == nil && err2 == nil && len(others) == 2 && len(replicas) == 2 &&
				replicas[0]["master-link-status"] == "ok" && replicas[1]["master-link-status"] == "ok"
		})
	}
	failOver(t, "redis+sentinel://"+strings.Join(addrs, ",")+"?master=m", 2, primary)
}

// sentinel starts a redis-sentinel that watches a primary on this port, one of
// three, and returns its address.
func sentinel(t *testing.T, primary int) string {
	t.Helper()
	program, err := exec.LookPath("redis-server") // the same program is the sentinel
	if err != nil {
		t.Skip("no redis-server") // testserver.Redis has failed already where one is required
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	config := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor m 127.0.0.1 %d 2\n"+
		"sentinel down-after-milliseconds m 1000\nsentinel failover-timeout m 3000\n", port, filepath.Dir(file), primary)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, file, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return "127.0.0.1:" + strconv.Itoa(port)
}

// The same in a Redis Cluster of three primaries and their replicas, where the
// primary of the slot that has all keys is killed. Checked as
// TestSentinelFailover, and with the client library's own clusterLook, a
// minute: claims are then pending for that long.
func TestClusterFailover(t *testing.T) {
	var nodes []*testserver.RedisServer
	var clients []redis.UniversalClient
	for i := range 6 {
		nodes = append(nodes, testserver.Redis(t, guarded("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")))
		clients = append(clients, connect(t, nodes[i].URL()))
	}
	const slots, primaries = 16384, 3
	do := func(client redis.UniversalClient, args ...any) any {
		t.Helper()
		reply, err := client.Do(t.Context(), args...).Result()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return reply
	}
	for i, client := range clients {
		do(client, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
		if i < primaries {
			do(client, "CLUSTER", "ADDSLOTSRANGE", i*slots/primaries, (i+1)*slots/primaries-1)
		}
		do(client, "CLUSTER", "MEET", "127.0.0.1", nodes[0].Port())
	}
	for i, client := range clients {
		eventually(t, "every node knows the others", func() bool {
			info := client.ClusterInfo(t.Context()).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:6")
		})
		if i >= primaries {
			do(client, "CLUSTER", "REPLICATE", do(clients[i-primaries], "CLUSTER", "MYID"))
		}
	}
	for _, client := range clients[primaries:] {
		eventually(t, "every replica follows", func() bool {
			return strings.Contains(client.Info(t.Context(), "replication").Val(), "master_link_status:up")
		})
	}
	for _, client := range clients { // a node without the news of a replica would not vote for it
		eventually(t, "every node knows the replicas", func() bool {
			return strings.Count(client.ClusterNodes(t.Context()).Val(), "slave ") == primaries
		})
	}
	holder := int(do(clients[0], "CLUSTER", "KEYSLOT", campaign.KeyCampaign).(int64)) * primaries / slots
	var addrs []string
	for _, node := range nodes {
		addrs = append(addrs, "127.0.0.1:"+strconv.Itoa(node.Port()))
	}
	failOver(t, "redis+cluster://"+strings.Join(addrs, ","), 1, nodes[holder])
}

// failOver kills the primary with -9 while users log in and claim, starts it
// again once another has taken its place, and holds that nothing a client was
// told is lost, nothing is granted twice, and every login is made good.
func failOver(t *testing.T, url string, replicas int, primary *testserver.RedisServer) {
	t.Helper()
	const slots, users, workers = 60, 120, 4
	b := newBench(t, url)
	b.start(t, slots, 1000)
	durably := func(client redis.UniversalClient, limit time.Duration) *campaign.Claimer {
		return campaign.NewClaimer(campaign.ClaimerConfig{
			Redis: client, Replicas: replicas, Timeout: limit, Log: slog.New(slog.DiscardHandler),
		})
	}
	run(t, keeper.New(keeper.Config{
		Ledger: b.ledger, Redis: b.redis, Log: slog.New(slog.DiscardHandler), Now: b.now,
		Claimer: durably(b.redis, 5*time.Second), TakeOver: time.Millisecond, Interval: 20 * time.Millisecond,
	}))
	var (
		mu   sync.Mutex
		told = map[string]int64{}
		wg   sync.WaitGroup
		jobs = make(chan string)
	)
	for range workers {
		client := connect(t, b.url)
		p := campaign.NewPromotions(campaign.PromotionsConfig{Ledger: b.ledger, Board: campaign.NewBoard(client)})
		claimer := durably(client, campaign.DefaultClaimTimeout)
		wg.Go(func() {
			for user := range jobs {
				if err := p.Expect(t.Context(), user, time.Now()); err != nil {
					t.Error(err)
				}
				if out := claimer.Claim(t.Context(), user); out.State == campaign.StateGranted {
					mu.Lock()
					told[user] = out.Rank
					mu.Unlock()
				}
			}
		})
	}
	for i := range users {
		switch i {
		case users / 4:
			cut(t, primary)
		case users/4 + 12:
			primary.Kill()
		}
		jobs <- fmt.Sprint("user", i)
	}
	close(jobs)
	wg.Wait()
	if len(told) == 0 {
		t.Error("nobody was told of a grant before the fail-over")
	}
	eventually(t, "another server has taken over", func() bool { _, err := b.board.Snapshot(t.Context()); return err == nil })
	primary.Start()
	b.later(11 * time.Second)
	eventually(t, "all slots are granted and stored", func() bool { return len(b.stored(t)) == slots })
	eventually(t, "nobody is expected any more", func() bool { return len(b.expected(t)) == 0 })
	b.holds(t, told)
	if s, err := b.board.Snapshot(t.Context()); err != nil || s.Last != users || s.Arrivals != users {
		t.Errorf("%d arrivals, last %d, %v: want %d, every login made good", s.Arrivals, s.Last, err, users)
	}
}

// cut takes its replicas from a primary, which goes on: what it decides from
// then on is lost with it. On one machine a fail-over would lose nothing
// otherwise, and no test would see who does not wait.
func cut(t *testing.T, primary *testserver.RedisServer) {
	t.Helper()
	client := connect(t, primary.URL())
	for _, args := range [][]any{
		{"CONFIG", "SET", "min-replicas-to-write", 0},
		{"CONFIG", "SET", "requirepass", "unknown to the replicas"},
		{"CLIENT", "KILL", "TYPE", "replica"},
	} {
		if err := client.Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
}

// holds compares the ledger with what clients were told: the same ranks, from
// 1 without gaps, and no conflict.
func (b *bench) holds(t *testing.T, told map[string]int64) {
	t.Helper()
	ranks := map[string]int64{}
	for i, entry := range b.stored(t) {
		var user string
		var rank int64
		if _, err := fmt.Sscan(entry, &user, &rank); err != nil || rank != int64(i+1) {
			t.Errorf("grant %d is %q", i+1, entry)
		}
		ranks[user] = rank
	}
	for user, rank := range told {
		if ranks[user] != rank {
			t.Errorf("%s was told rank %d and has %d", user, rank, ranks[user])
		}
	}
	if conflicts, err := b.ledger.Conflicts(t.Context(), "1"); err != nil || len(conflicts) > 0 {
		t.Errorf("conflicts %+v, %v", conflicts, err)
	}
}
