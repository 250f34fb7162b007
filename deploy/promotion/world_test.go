package promotion_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// heavy reports whether the test should do more than CI has time for.
func heavy() bool { return os.Getenv("EARLYBIRD_HEAVY") == "1" }

// world is a database, a Redis, who appends to the log, who reads the mirror,
// and the judge.
type world struct {
	t        testing.TB
	mongoURL string
	redisURL string
	store    *mongostore.Store // not through any proxy; and so are client and mirror
	client   redis.UniversalClient
	mirror   *mirror.Mirror
	judge    campaigntest.Judge
	replicas []*replica
}

// newWorld is a world without a campaign, around a Redis.
func newWorld(t testing.TB, redisURL string) *world {
	t.Helper()
	return newWorldOn(t, testserver.Mongo(t), redisURL)
}

func newWorldOn(t testing.TB, mongoURL, redisURL string) *world {
	t.Helper()
	w := &world{t: t, mongoURL: mongoURL, redisURL: redisURL}
	w.store = w.open(mongoURL)
	w.client = w.connect(redisURL)
	w.mirror = mirror.New(mirror.Config{Redis: w.client})
	return w
}

func (w *world) open(url string) *mongostore.Store {
	w.t.Helper()
	store, err := mongostore.Open(w.t.Context(), mongostore.Config{URL: url, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = store.Close(context.Background()) })
	return store
}

func (w *world) connect(url string) redis.UniversalClient {
	w.t.Helper()
	client, err := redisdb.Connect(redisdb.Config{URL: url})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = client.Close() })
	return client
}

// replica is an identity replica in this process, and what is between it and the
// stores.
type replica struct {
	*campaign.Replica
	mongo *testserver.Proxy
	redis *testserver.Proxy // nil: there is none before a Sentinel or a cluster
	stop  func()
}

// replicaConfig says what is special about a replica. The zero value is nothing.
type replicaConfig struct {
	redisURL string // in place of the world's
	delay    time.Duration
	ahead    time.Duration // of its clock
	unready  bool          // it is not expected to become ready
}

func (w *world) replica(c replicaConfig) *replica {
	w.t.Helper()
	r := &replica{}
	proxy, mongoURL := testserver.NewProxy(w.t, w.mongoURL, nil)
	proxy.SetDelay(c.delay)
	r.mongo = proxy
	redisURL := w.redisURL
	if c.redisURL != "" {
		redisURL = c.redisURL
	}
	if redisURL[:8] == "redis://" {
		r.redis, redisURL = testserver.NewProxy(w.t, redisURL, nil)
	}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(w.t.Output(), nil)).With("replica", len(w.replicas))
	}
	r.Replica = campaign.NewReplica(campaign.ReplicaConfig{
		Store: w.open(mongoURL), Mirror: mirror.New(mirror.Config{Redis: w.connect(redisURL)}), Log: log,
		Now: func() time.Time { return time.Now().Add(c.ahead) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	r.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	w.t.Cleanup(r.stop)
	if c.ahead == 0 && !c.unready {
		w.await("the replica is ready", 20*time.Second, func() error { return r.Ready() })
	}
	w.replicas = append(w.replicas, r)
	return r
}

// run starts so many replicas.
func (w *world) run(n int) {
	w.t.Helper()
	for range n {
		w.replica(replicaConfig{})
	}
}

// admin is a command line, at a distance from MongoDB.
func (w *world) admin(delay time.Duration) *campaign.Admin {
	w.t.Helper()
	store := w.store
	if delay > 0 {
		proxy, url := testserver.NewProxy(w.t, w.mongoURL, nil)
		store = w.open(url)
		proxy.SetDelay(delay)
	}
	return campaign.NewAdmin(campaign.AdminConfig{Store: store, Mirror: w.mirror, By: "admin"})
}

// commit runs a command, which must succeed.
func (w *world) commit(change campaign.Change) campaign.Entry {
	w.t.Helper()
	return w.commitBy(w.admin(0), change)
}

func (w *world) commitBy(a *campaign.Admin, change campaign.Change) campaign.Entry {
	w.t.Helper()
	if _, err := a.Read(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	done, err := w.judge.Commit(w.t.Context(), a, change)
	if err != nil {
		w.t.Fatal(err)
	}
	return done.Entry
}

// start starts a campaign that is open when it returns.
func (w *world) start(slots, waitlist int64) {
	w.t.Helper()
	w.commit(campaign.Start(campaign.Settings{Name: "first", Discount: 30, Slots: slots, Waitlist: waitlist}))
}

// login logs in at a replica and, while that says retry, again, as a client
// does.
func (w *world) login(r *replica, user string) campaign.Placement {
	for again := 0; ; again++ {
		began := time.Now()
		p := w.judge.Place(context.Background(), r.Replica, user)
		if took := time.Since(began); took > 2500*time.Millisecond {
			w.t.Errorf("a login waited %s for its place", took)
		}
		if p.Status != campaign.StatusRetry || again == 20 {
			return p
		}
		time.Sleep(time.Duration(again+1) * 20 * time.Millisecond)
	}
}

// crowd has the users numbered from one number to before another log in, from so
// many clients. Some of them do so at every replica at once.
func (w *world) crowd(from, to, clients int) {
	var g errgroup.Group
	g.SetLimit(clients)
	for n := from; n < to; n++ {
		if n%20 == 7 {
			for _, r := range w.replicas {
				g.Go(func() error { w.login(r, user(n)); return nil })
			}
			continue
		}
		g.Go(func() error { w.login(w.replicas[n%len(w.replicas)], user(n)); return nil })
	}
	_ = g.Wait()
}

func user(n int) string { return fmt.Sprintf("USER%06d", n) }

// edge is a gateway: what it tells clients, and services behind it.
type edge struct {
	w        *world
	redis    *testserver.Proxy // nil: there is none
	mirror   *mirror.Mirror
	view     *mirror.View
	resolver *mirror.Resolver
}

func (w *world) edge(redisURL string) *edge {
	w.t.Helper()
	e := &edge{w: w}
	if redisURL[:8] == "redis://" {
		e.redis, redisURL = testserver.NewProxy(w.t, redisURL, nil)
	}
	client := w.connect(redisURL)
	e.mirror = mirror.New(mirror.Config{Redis: client})
	e.view = mirror.NewView(mirror.ViewConfig{})
	e.resolver = mirror.NewResolver(mirror.ResolverConfig{Standings: e.mirror})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	tail := mirror.NewTail(mirror.TailConfig{Redis: client, View: e.view, Log: slog.New(slog.DiscardHandler)})
	running.Go(func() { _ = tail.Run(ctx) })
	w.t.Cleanup(func() { cancel(); running.Wait() })
	return e
}

// tell is what the gateway makes of a login that has a place.
func (e *edge) tell(user string, at campaign.Place) mirror.Outcome {
	c := e.w.judge.Begin(user, campaigntest.AskedTag)
	out := e.resolver.Resolve(context.Background(), user, at)
	e.w.judge.End(c, string(out.Status), at, out.Rank)
	return out
}

// grant is what a service behind the gateway hears of a user's grant.
func (e *edge) grant(user string) (mirror.Grant, mirror.Knowledge) {
	u := e.view.Watch(user) // for ever: a token that is remembered
	c := e.w.judge.Begin(user, campaigntest.AskedEdge)
	g, known := e.view.Grant(u)
	if known == mirror.Unread {
		ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
		defer cancel()
		if s, err := e.mirror.Standing(ctx, user); err == nil {
			g, known = e.view.Learn(u, s)
		}
	}
	switch known {
	case mirror.Granted:
		e.w.judge.End(c, campaigntest.EdgeGranted, campaign.Place{}, g.Rank)
	case mirror.NotGranted:
		e.w.judge.End(c, campaigntest.EdgeNotGranted, campaign.Place{}, 0)
	case mirror.Unknown, mirror.Unread:
	}
	return g, known
}

// agree waits until an edge tells of each of the first users what the log says.
func (w *world) agree(e *edge, users int) {
	w.t.Helper()
	f, err := w.admin(0).Campaign(w.t.Context(), campaigntest.InForce(w.log()))
	if err != nil {
		w.t.Fatal(err)
	}
	for n := range users {
		want := mirror.NotGranted
		if _, granted := f.Grant(f.Position(user(n))); granted {
			want = mirror.Granted
		}
		e.knows(user(n), want)
	}
}

// await polls until there is no error.
func (w *world) await(what string, within time.Duration, check func() error) {
	w.t.Helper()
	var err error
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	w.t.Fatalf("not within %s: %s: %v", within, what, err)
}

// log is the committed log of all campaigns, which chains.
func (w *world) log() []campaign.Entry {
	w.t.Helper()
	a, ctx := w.admin(0), w.t.Context()
	l, err := a.Read(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	if l.Latest() == nil {
		return nil
	}
	var all []campaign.Entry
	for n := int64(1); n <= l.Latest().Campaign(); n++ {
		f, err := a.Campaign(ctx, n)
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, f.Entries()...)
	}
	slices.SortStableFunc(all, func(a, b campaign.Entry) int { return a.At.Compare(b.At) }) // voids of one may come after the start of the next
	return all
}

// complete waits until the mirror has come as far as the log had when it was asked,
// whether users log in meanwhile or not.
func (w *world) complete() {
	w.t.Helper()
	w.await("the mirror is the log", refill, func() error {
		before := w.log()
		state, err := w.mirror.State(w.t.Context())
		if err != nil {
			return err
		}
		if err := campaigntest.CheckComplete(state, before); err == nil || !state.Intact || state.Seq < before[len(before)-1].Seq {
			return err
		}
		return campaigntest.CheckComplete(state, w.log()[:len(before)+int(state.Seq-before[len(before)-1].Seq)])
	})
}

// refill is how long a mirror may take to be whole again. It is a second of a
// machine that has time.
const refill = 10 * time.Second

// verdict holds everything that was asked and told against the log.
func (w *world) verdict() {
	w.t.Helper()
	w.complete()
	log := w.log()
	faults := w.judge.Faults(log)
	for _, f := range faults[:min(len(faults), 10)] {
		w.t.Error(f)
	}
	if len(faults) > 10 {
		w.t.Errorf("and %d faults more", len(faults)-10)
	}
	counts := map[string]int{}
	for _, c := range w.judge.Calls() {
		counts[fmt.Sprint([]string{"login", "tag", "promotion", "edge"}[c.Asked], " ", c.Status)]++
	}
	w.t.Logf("%d entries; %v", len(log), counts)
}

// placed fails the test unless every user of the numbers holds a place.
func (w *world) placed(from, to int) {
	w.t.Helper()
	f, err := w.admin(0).Campaign(w.t.Context(), campaigntest.InForce(w.log()))
	if err != nil {
		w.t.Fatal(err)
	}
	for n := from; n < to; n++ {
		if f.Position(user(n)) == 0 {
			w.t.Errorf("%s has logged in and holds no place", user(n))
		}
	}
}
