package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/redisdb"
	"github.com/earlybird/earlybird/identity/unavailable"
)

const (
	origin   = "ORIGIN"
	password = "s3cret"
)

// The rights that Earlybird needs in Redis, as operations.md lists them:
// identity writes, edges read.
var (
	identityRights = []string{
		"~earlybird:*", "resetchannels", "-@all",
		"+evalsha", "+eval", "+evalsha_ro", "+eval_ro",
		"+hmget", "+hset", "+unlink", "+zadd", "+zscore", "+zcard", "+sadd", "+srem", "+scard", "+sismember",
		"+xadd", "+xrange", "+xrevrange", "+xlen", "+xtrim", "+xread", "+get", "+set", "+del",
	}
	edgeRights = []string{
		"~earlybird:*", "resetchannels", "-@all",
		"+evalsha_ro", "+eval_ro", "+hmget", "+zscore", "+zcard", "+scard", "+sismember", "+xrange", "+xrevrange", "+xread",
	}
)

// losable is a mirror in a Redis that another, unrestricted connection damages.
type losable struct {
	*mirror.Mirror
	t     *testing.T
	admin redis.UniversalClient
}

func (l losable) Lose(part campaigntest.Part) bool {
	l.t.Helper()
	var n int64
	var err error
	ctx := l.t.Context()
	switch part {
	case campaigntest.PartUser:
		n, err = l.admin.ZRemRangeByRank(ctx, mirror.KeyArrivals, 0, 0).Result()
	case campaigntest.PartVoid:
		err = l.admin.SPop(ctx, mirror.KeyVoided).Err()
		n = 1
	case campaigntest.PartStreamEnd:
		last := l.admin.XRevRangeN(ctx, mirror.KeyLog, "+", "-", 1).Val()
		if len(last) > 0 {
			n, err = l.admin.XDel(ctx, mirror.KeyLog, last[0].ID).Result()
		}
	case campaigntest.PartSummary:
		n, err = l.admin.Del(ctx, mirror.KeyCampaign).Result()
	case campaigntest.PartArrivals:
		n, err = l.admin.Del(ctx, mirror.KeyArrivals).Result()
	case campaigntest.PartStream:
		n, err = l.admin.Del(ctx, mirror.KeyLog).Result()
	}
	if err != nil {
		l.t.Fatalf("lose %s: %v", part, err)
	}
	return n > 0
}

func connect(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	client, err := redisdb.Connect(redisdb.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func newMirror(t testing.TB, url string) *mirror.Mirror {
	t.Helper()
	return mirror.New(mirror.Config{Redis: connect(t, url), Timeout: 5 * time.Second})
}

// runSuite holds the mirror at url to the contract; admin is a URL of the same
// Redis with all rights.
func runSuite(t *testing.T, url, admin string) {
	t.Helper()
	used, all := connect(t, url), connect(t, admin)
	campaigntest.RunMirror(t, func(t *testing.T) campaign.Mirror {
		// Without its keys and its scripts: every call has to answer NOSCRIPT.
		flush := func(ctx context.Context, c *redis.Client) error {
			if err := c.ScriptFlush(ctx).Err(); err != nil {
				return err
			}
			return c.FlushAll(ctx).Err()
		}
		var err error
		switch c := all.(type) {
		case *redis.ClusterClient:
			err = c.ForEachMaster(t.Context(), flush)
		case *redis.Client:
			err = flush(t.Context(), c)
		}
		if err != nil {
			t.Fatal(err)
		}
		return losable{Mirror: mirror.New(mirror.Config{Redis: used, Timeout: 5 * time.Second}), t: t, admin: all}
	})
}

func TestMirrorInMiniredis(t *testing.T) {
	server := miniredis.RunT(t)
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() { // its keys expire only when it is told that time passes
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				server.FastForward(5 * time.Millisecond)
			}
		}
	}()
	runSuite(t, "redis://"+server.Addr(), "redis://"+server.Addr())
}

// The contract, by a user who has exactly the rights that are documented.
// Checked by leaving out any one of them in identityRights: the suite fails.
func TestMirrorInRedis(t *testing.T) {
	server := testserver.Redis(t)
	url := withUser(t, server, "identity", identityRights)
	runSuite(t, url, server.URL())
}

func TestMirrorInCluster(t *testing.T) {
	url := testserver.RedisCluster(t)
	runSuite(t, url, url)
}

func TestMirrorBehindSentinel(t *testing.T) {
	server := testserver.Redis(t)
	url := "redis+sentinel://" + testserver.Sentinel(t, server.Port()) + "?master=m"
	client := connect(t, url)
	eventually(t, "the sentinel knows the primary", func() bool { return client.Ping(t.Context()).Err() == nil })
	runSuite(t, url, server.URL())
}

// withUser makes a user of these rights and returns the URL with it.
func withUser(t testing.TB, server *testserver.RedisServer, name string, rights []string) string {
	t.Helper()
	args := []any{"ACL", "SETUSER", name, "reset", "on", ">" + password}
	for _, right := range rights {
		args = append(args, right)
	}
	if err := connect(t, server.URL()).Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("redis://%s:%s@127.0.0.1:%d/0", name, password, server.Port())
}

// eventually polls until ok, or fails the test.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// The keys of a build before the log are no other database's: they go.
func TestKeysOfAnEarlierBuildAreRemoved(t *testing.T) {
	server := testserver.Redis(t)
	client := connect(t, server.URL())
	for _, args := range [][]any{
		{"HSET", mirror.KeyCampaign, "id", "7", "slots", "100", "last", "2", "run_id", "r"},
		{"ZADD", mirror.KeyArrivals, 1, "old1", 2, "old2"},
		{"XADD", "earlybird:{earlybird}:outbox", "*", "type", "grant"},
		{"SET", "earlybird:{earlybird}:limits", "kept"},
	} {
		if err := client.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	m := newMirror(t, server.URL())
	if s, err := m.State(t.Context()); err != nil || s.Origin != "" || s.Intact || s.Seq != -1 {
		t.Errorf("before: %+v, %v", s, err)
	}
	h := campaigntest.NewHistory(origin, 1, 5)
	if s, err := m.Apply(t.Context(), h.All()); err != nil || s.Answer != campaign.AnswerOK || !s.Intact || s.Last != 0 {
		t.Errorf("after: %+v, %v", s, err)
	}
	if got := client.Keys(t.Context(), "*").Val(); len(got) != 3 { // campaign, log, limits
		t.Errorf("keys %q", got)
	}
}

// Edges read with fewer rights than identity has, and cannot write. Checked by
// leaving out any one of edgeRights.
func TestEdgeRights(t *testing.T) {
	server := testserver.Redis(t)
	h := campaigntest.NewHistory(origin, 1, 5)
	h.Arrive("a", 2)
	if _, err := newMirror(t, server.URL()).Apply(t.Context(), h.All()); err != nil {
		t.Fatal(err)
	}
	edge := newMirror(t, withUser(t, server, "edge", edgeRights))
	if s, err := edge.Standing(t.Context(), "a2"); err != nil || s.Position != 2 || !s.Intact {
		t.Errorf("standing %+v, %v", s, err)
	}
	if err := connect(t, server.URL()).Del(t.Context(), mirror.KeyCampaign).Err(); err != nil { // the origin is in the log then
		t.Fatal(err)
	}
	if s, err := edge.Summary(t.Context()); err != nil || s.Origin != origin || s.Intact {
		t.Errorf("summary %+v, %v", s, err)
	}
	if _, err := edge.Apply(t.Context(), h.All()); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("an edge writes: %v", err)
	}
}

// With a breaker a Redis that does not answer is left alone for a second; one
// that answers with an error is not.
// Broken on purpose by handing a reply's error to the breaker: the call after
// NOPERM is not made.
func TestMirrorLeavesRedisAlone(t *testing.T) {
	server := testserver.Redis(t)
	now := time.Unix(1_000_000, 0)
	var changes []error
	breaker := &redisdb.Breaker{
		Now: func() time.Time { return now }, Probe: 5 * time.Second,
		Changed: func(_ context.Context, err error) { changes = append(changes, err) },
	}
	m := mirror.New(mirror.Config{
		Redis: connect(t, withUser(t, server, "edge", edgeRights)), Timeout: 5 * time.Second, Breaker: breaker,
	})
	at := campaign.Place{Seq: -1}
	if _, err := m.Turn(t.Context(), "me", at, 0); !unavailable.Is(err) || !strings.Contains(err.Error(), "NOPERM") {
		t.Fatalf("a call without the right to it: %v", err)
	}
	if _, err := m.State(t.Context()); err != nil {
		t.Errorf("the call after it: %v", err)
	}
	server.Kill()
	if _, err := m.State(t.Context()); !unavailable.Is(err) || errors.Is(err, redisdb.ErrResting) {
		t.Errorf("without redis: %v", err)
	}
	server.Start()
	withUser(t, server, "edge", edgeRights)
	for name, err := range map[string]error{
		"State":    errOf(m.State(t.Context())),
		"Apply":    errOf(m.Apply(t.Context(), campaign.Batch{Origin: origin})),
		"Turn":     errOf(m.Turn(t.Context(), "me", at, 0)),
		"Seize":    m.Seize(t.Context(), "me"),
		"Release":  m.Release(t.Context(), "me"),
		"Clear":    errOf(m.Clear(t.Context(), origin, at)),
		"Standing": errOf(m.Standing(t.Context(), "u")),
	} {
		if !unavailable.Is(err) || !errors.Is(err, redisdb.ErrResting) {
			t.Errorf("%s within a second: %v", name, err)
		}
	}
	now = now.Add(time.Second)
	if _, err := m.State(t.Context()); err != nil {
		t.Errorf("the probe: %v", err)
	}
	if len(changes) != 2 || changes[0] == nil || changes[1] != nil {
		t.Errorf("changes %v, want that it failed, and that it is back", changes)
	}
}

func errOf[T any](_ T, err error) error { return err }
