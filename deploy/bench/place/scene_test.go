package place_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// servers are the two that everything is measured on. Each scene has a database
// of its own in the one, and empties the other.
type servers struct {
	mongo    *testserver.MongoServer
	redis    *testserver.RedisServer
	client   redis.UniversalClient
	database int
}

func newServers(t testing.TB) *servers {
	t.Helper()
	s := &servers{
		mongo: testserver.OwnMongo(t),
		// No command but the ones of more than half a millisecond are of interest.
		redis: testserver.Redis(t, "--appendfsync", "everysec", "--slowlog-log-slower-than", "500", "--slowlog-max-len", "100000"),
	}
	s.client = connect(t, s.redis)
	return s
}

func connect(t testing.TB, server *testserver.RedisServer) redis.UniversalClient {
	t.Helper()
	client, err := redisdb.Connect(redisdb.Config{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// longest is the longest script since the last call, by redis-server's own
// count; 0: none took more than half a millisecond.
func (s *servers) longest(t testing.TB) time.Duration {
	t.Helper()
	var longest time.Duration
	for _, slow := range s.client.SlowLogGet(t.Context(), -1).Val() {
		if strings.HasPrefix(strings.ToLower(slow.Args[0]), "eval") {
			longest = max(longest, slow.Duration)
		}
	}
	if err := s.client.Do(t.Context(), "SLOWLOG", "RESET").Err(); err != nil {
		t.Fatal(err)
	}
	return longest
}

// scene is a campaign and those who place users in it.
type scene struct {
	replicas   []*campaign.Replica
	admin      *campaign.Admin
	adminProxy *testserver.Proxy
	mirror     *mirror.Mirror
	bare       *mongo.Collection // through the first replica's proxy
	users      atomic.Int64
	stop       func()
}

// sceneConfig says what a scene is like.
type sceneConfig struct {
	delays   []time.Duration // of the way to MongoDB, one for each replica
	idle     bool            // the replicas do not run
	apart    bool            // it has a redis-server of its own
	waitlist int64
	slots    int64 // 0: as many as there are places, or all that can be
	places   int   // that are held before it begins
	an       int   // users in each entry of those
}

func (s *servers) scene(t testing.TB, c sceneConfig) *scene {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	sc := &scene{stop: cancel}
	server, client := s.redis, s.client
	if c.apart {
		server = testserver.Redis(t, "--appendfsync", "everysec")
		client = connect(t, server)
	} else if err := client.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	s.database++
	url := strings.TrimSuffix(s.mongo.URL(), "/test") + fmt.Sprint("/bench", s.database)
	sc.mirror = mirror.New(mirror.Config{Redis: client})
	through := ""
	sc.adminProxy, through = testserver.NewProxy(t, url, nil)
	store := open(t, through, true)
	sc.admin = campaign.NewAdmin(campaign.AdminConfig{Store: store, Mirror: sc.mirror, By: "bench"})
	if c.places > 0 {
		log := made(t, store, cmp.Or(c.slots, int64(c.places)), c.waitlist, c.places, c.an)
		if err := each(8, len(log), func(i int) error { return store.Append(ctx, log[i]) }); err != nil {
			t.Fatal(err)
		}
	} else {
		sc.start(t)
	}
	for _, delay := range c.delays {
		proxy, through := testserver.NewProxy(t, url, nil)
		proxy.SetDelay(delay)
		sc.replicas = append(sc.replicas, campaign.NewReplica(campaign.ReplicaConfig{
			Store: open(t, through, false), Mirror: mirror.New(mirror.Config{Redis: connect(t, server)}), Log: slog.New(slog.DiscardHandler),
		}))
		if sc.bare == nil {
			sc.bare = bare(t, through)
		}
	}
	if !c.idle {
		for _, r := range sc.replicas {
			go func() { _ = r.Run(ctx) }()
		}
		sc.await(t, "the replicas are ready", func() bool {
			return !slices.ContainsFunc(sc.replicas, func(r *campaign.Replica) bool { return r.Ready() != nil })
		})
	}
	return sc
}

func open(t testing.TB, url string, prepare bool) *mongostore.Store {
	t.Helper()
	how := mongostore.Connect
	if prepare {
		how = mongostore.Open
	}
	store, err := how(t.Context(), mongostore.Config{URL: url, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close(context.Background()) })
	return store
}

// bare is a collection to insert single documents into.
func bare(t testing.TB, url string) *mongo.Collection {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(url).SetWriteConcern(writeconcern.Majority()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	c := client.Database("bare").Collection("bare")
	if _, err := c.InsertOne(t.Context(), bson.M{"_id": fmt.Sprint("first", time.Now().UnixNano())}); err != nil {
		t.Fatal(err)
	}
	return c
}

// made is the log of a campaign in which so many users hold a place, each entry
// but the last of as many.
func made(t testing.TB, store campaign.Store, slots, waitlist int64, places, an int) []campaign.Entry {
	t.Helper()
	origin, err := store.Origin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	h := &campaigntest.History{Origin: origin, Campaign: 1, Epoch: 1 << 20}
	h.Add(campaign.Entry{Kind: campaign.KindStart, Limit: slots, Origin: origin, Epoch: h.Epoch, Settings: &campaign.Settings{
		Name: "bench", Discount: 30, Slots: slots, Waitlist: waitlist, StartsAt: now,
	}})
	h.Add(campaign.Entry{Kind: campaign.KindOpen, Limit: slots})
	for from := 0; from < places; from += an {
		h.Add(campaign.Entry{Kind: campaign.KindArrive, Users: users(from, min(from+an, places))})
	}
	return h.Entries
}

// user is a user's id, as long as they are.
func user(n int) string { return fmt.Sprintf("USER%022d", n) }

func users(from, to int) []string {
	var all []string
	for n := from; n < to; n++ {
		all = append(all, user(n))
	}
	return all
}

func (s *scene) newUser() string { return user(int(s.users.Add(1)) + 1_000_000) }

// start starts a campaign with room for whatever is measured.
func (s *scene) start(t testing.TB) {
	t.Helper()
	if _, err := s.admin.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.Commit(t.Context(), campaign.Start(campaign.Settings{Name: "bench", Discount: 30, Slots: campaign.MaxPlaces})); err != nil {
		t.Fatal(err)
	}
}

func (s *scene) await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within two minutes", what)
		}
	}
}

// machine says what the numbers were measured on, and how busy it was.
func machine(t testing.TB, s *servers) string {
	t.Helper()
	read := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(b))
	}
	info := s.client.Info(t.Context(), "server").Val()
	_, rest, _ := strings.Cut(info, "redis_version:")
	version, _, _ := strings.Cut(rest, "\r\n")
	_, rest, _ = strings.Cut(read("/proc/cpuinfo"), "model name\t: ")
	cpu, _, _ := strings.Cut(rest, "\n")
	load, _, _ := strings.Cut(read("/proc/loadavg"), " ")
	return fmt.Sprintf("%s, %s %s, %d cores (%s), %s, Redis %s, the embedded MongoDB on disk, load average at the start %s",
		time.Now().Format(time.DateOnly), runtime.GOOS, read("/proc/sys/kernel/osrelease"), runtime.NumCPU(), cmp.Or(cpu, "unknown"), runtime.Version(), version, load)
}
