package place_test

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"golang.org/x/sync/errgroup"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
)

var (
	duration = flag.Duration("place.duration", 3*time.Second, "of each measurement")
	only     = flag.String("place.only", "", "measure one part alone: waiting, rate, places, raise or start")
	rounds   = flag.Int("place.rounds", 9, "how often a cost is measured that is compared; the median counts")
)

type plan struct {
	appenders, waiting []int
	delays             []time.Duration
	duration           time.Duration
	rate               int // first logins a second, where they come at a rate
	rounds             int
	few, many          int // places that are compared
	raise              int
	edges              int
}

// BenchmarkPlace is `make bench-place`.
func BenchmarkPlace(b *testing.B) {
	measure(b, plan{
		appenders: []int{1, 5, 25}, waiting: []int{1, 8, 64},
		delays:   []time.Duration{0, 5 * time.Millisecond, 10 * time.Millisecond},
		duration: *duration, rate: 500, rounds: *rounds, few: 100, many: 100_000, raise: 10_000, edges: 4,
	})
}

// TestBenchmark holds that the benchmark works, in little time.
func TestBenchmark(t *testing.T) {
	measure(t, plan{
		appenders: []int{1, 3}, waiting: []int{8}, delays: []time.Duration{time.Millisecond},
		duration: 200 * time.Millisecond, rate: 100, rounds: 1, few: 10, many: 1000, raise: 500, edges: 2,
	})
}

func measure(t testing.TB, p plan) {
	t.Helper()
	s := newServers(t)
	fmt.Printf("%s\n\n", machine(t, s))
	for _, part := range []struct {
		name, title string
		measure     func(testing.TB, *servers, plan)
	}{
		{"waiting", fmt.Sprintf("First logins, as many waiting at once as it says, for %s; beside as many clients that insert one document", p.duration), closed},
		{"rate", fmt.Sprintf("%d first logins a second, and as many inserts of one document, for %s", p.rate, 2*p.duration), atRate},
		{"places", fmt.Sprintf("A call by the number of places that are held (1 appender, 8 clients; median of %d rounds)", p.rounds), compare},
		{"raise", fmt.Sprintf("Raising the slots by %d, with those on the waiting list, at %d edges that each watch all of them", p.raise, p.edges), raise},
		{"start", fmt.Sprintf("A start with %d places, until the replica is ready and the mirror is whole", p.many), start},
	} {
		if *only == "" || *only == part.name {
			fmt.Printf("%s:\n\n", part.title)
			part.measure(t, s, p)
			fmt.Println()
		}
	}
}

// closed measures with so many clients, each of which asks again once it is
// answered.
func closed(t testing.TB, s *servers, p plan) {
	t.Helper()
	fmt.Println("| appenders | on the way | waiting | places/s | p50 | p99 | late | inserts/s | p50 | p99 | longest script |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|")
	for _, appenders := range p.appenders {
		for _, delay := range p.delays {
			for _, waiting := range p.waiting {
				sc := s.scene(t, sceneConfig{delays: slices.Repeat([]time.Duration{delay}, appenders)})
				place := func(i int) bool { return sc.place(i % appenders) }
				run(waiting, p.duration/10, place) // connections and scripts are there
				s.longest(t)
				placed := run(waiting, p.duration, place)
				longest := s.longest(t)
				inserted := run(waiting, p.duration/2, sc.insert)
				fmt.Printf("| %d | %s | %d | %s | %s | %.1f ms |\n", appenders, delay, waiting, placed, inserted.brief(), ms(longest))
				sc.stop()
			}
		}
	}
}

// atRate measures with logins that come at a rate, whether others are answered
// or not.
func atRate(t testing.TB, s *servers, p plan) {
	t.Helper()
	fmt.Println("| appenders | on the way | meanwhile | places/s | p50 | p99 | late | inserts/s | p50 | p99 | a pause took |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|")
	const way = 5 * time.Millisecond
	for i, appenders := range append(slices.Clone(p.appenders), p.appenders[len(p.appenders)-1]) {
		delays := slices.Repeat([]time.Duration{way}, appenders)
		far := i == len(p.appenders)
		meanwhile := ""
		if far {
			delays[0] += 10 * time.Millisecond
			meanwhile = "one is 10 ms farther away; an admin, 50 ms away, pauses and resumes"
		}
		sc := s.scene(t, sceneConfig{delays: delays})
		var took time.Duration
		var commands errgroup.Group
		stopped := make(chan struct{})
		if far {
			commands.Go(func() (err error) { took, err = sc.pauses(stopped); return err })
		}
		placed := arrive(p.rate, 2*p.duration, func(i int) bool { return sc.place(i % appenders) })
		close(stopped)
		if err := commands.Wait(); err != nil {
			t.Error(err)
		}
		inserted := arrive(p.rate, p.duration, sc.insert)
		fmt.Printf("| %d | %s | %s | %s | %s | %.0f ms |\n", appenders, way, meanwhile, placed, inserted.brief(), ms(took))
		sc.stop()
	}
}

// pauses pauses and resumes the campaign from 50 ms away until stopped, and
// returns the longest that a command took, the half second that it waits after
// its entry aside.
func (s *scene) pauses(stopped <-chan struct{}) (longest time.Duration, err error) {
	s.adminProxy.SetDelay(50 * time.Millisecond)
	for {
		for _, change := range []campaign.Change{campaign.Pause(), campaign.Resume()} {
			if _, err := s.admin.Read(context.Background()); err != nil {
				return longest, err
			}
			began := time.Now()
			if _, err := s.admin.Commit(context.Background(), change); err != nil {
				return longest, err
			}
			longest = max(longest, time.Since(began)-500*time.Millisecond)
		}
		select {
		case <-stopped:
			return longest, nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// compare compares calls in a campaign in which few hold a place with calls in one
// in which many do, in turn.
func compare(t testing.TB, s *servers, p plan) {
	t.Helper()
	fmt.Printf("| call | %d places, us | %d places, us | cost |\n|---|---|---|---|\n", p.few, p.many)
	var scenes []*scene
	for _, places := range []int{p.few, p.many} {
		for _, waitlist := range []int64{0, 100_000} {
			sc := s.scene(t, sceneConfig{delays: make([]time.Duration, 1), apart: true, places: places, an: 500, waitlist: waitlist})
			scenes = append(scenes, sc)
			defer sc.stop()
		}
	}
	calls := []struct {
		name string
		open int // the second scene of each size has room
		do   func(sc *scene, places, i int) bool
	}{
		{"a first login", 1, func(sc *scene, _, _ int) bool { return sc.place(0) }},
		{"a login of who holds a place", 1, func(sc *scene, places, i int) bool {
			return sc.replicas[0].Place(context.Background(), user(i*7919%places)).Status == campaign.StatusPending
		}},
		{"a first login when all is full", 0, func(sc *scene, _, _ int) bool {
			return sc.replicas[0].Place(context.Background(), sc.newUser()).Status == campaign.StatusFull
		}},
		{"a standing from Redis", 0, func(sc *scene, places, i int) bool {
			_, err := sc.mirror.Standing(context.Background(), user(i*7919%places))
			return err == nil
		}},
	}
	for _, call := range calls {
		var took [2][]float64
		var cost []float64
		for range p.rounds {
			for i, places := range []int{p.few, p.many} {
				sc := scenes[2*i+call.open]
				r := run(8, p.duration/10, func(n int) bool { return call.do(sc, places, n) })
				if r.failed > 0 {
					t.Errorf("%s, %d places: %d of %d failed", call.name, places, r.failed, len(r.took)+r.failed)
				}
				took[i] = append(took[i], 1e6*r.elapsed.Seconds()/float64(max(1, len(r.took))))
			}
			last := len(took[0]) - 1
			cost = append(cost, took[1][last]/took[0][last])
		}
		fmt.Printf("| %s | %.1f | %.1f | %.2f |\n", call.name, median(took[0]), median(took[1]), median(cost))
	}
}

// raise measures how long it takes until every edge tells those who were on the
// waiting list that they hold the grant.
func raise(t testing.TB, s *servers, p plan) {
	t.Helper()
	sc := s.scene(t, sceneConfig{delays: make([]time.Duration, 2), places: p.few + p.raise, an: 500, slots: int64(p.few), waitlist: int64(p.raise)})
	defer sc.stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sc.await(t, "the mirror is whole", func() bool {
		state, err := sc.mirror.State(ctx)
		return err == nil && state.Intact && state.Last == int64(p.few+p.raise) && !state.Beat.IsZero()
	})
	var views []*mirror.View
	var watched [][]*mirror.User
	for range p.edges {
		v := mirror.NewView(mirror.ViewConfig{})
		client := connect(t, s.redis)
		m := mirror.New(mirror.Config{Redis: client})
		go func() {
			_ = mirror.NewTail(mirror.TailConfig{Redis: client, View: v, Log: slog.New(slog.DiscardHandler)}).Run(ctx)
		}()
		sc.await(t, "the edge follows", v.Live)
		all := make([]*mirror.User, p.raise)
		if err := each(8, p.raise, func(i int) error {
			all[i] = v.Watch(user(p.few + i))
			standing, err := m.Standing(ctx, user(p.few+i))
			if err == nil {
				v.Learn(all[i], standing)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		views, watched = append(views, v), append(watched, all)
	}
	s.longest(t)
	if _, err := sc.admin.Read(ctx); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var commit errgroup.Group
	commit.Go(func() error {
		_, err := sc.admin.Commit(ctx, campaign.Revise(func(c *campaign.Settings) { c.Slots += int64(p.raise) }))
		return err
	})
	sc.await(t, "every edge tells everybody", func() bool {
		for i, v := range views {
			for _, u := range watched[i] {
				if _, k := v.Grant(u); k != mirror.Granted {
					return false
				}
			}
		}
		return true
	})
	whole := time.Since(began)
	if err := commit.Wait(); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("from the command's begin to the last edge: %.0f ms; the longest script: %.1f ms (0: none over 0.5 ms)\n", ms(whole), ms(s.longest(t)))
}

// start measures the start of a replica over a campaign with many places.
func start(t testing.TB, s *servers, p plan) {
	t.Helper()
	fmt.Println("| users an entry | entries | ready | mirror whole | longest script |\n|---|---|---|---|---|")
	for _, an := range []int{500, 1} {
		sc := s.scene(t, sceneConfig{delays: make([]time.Duration, 1), places: p.many, an: an, idle: true})
		ctx, cancel := context.WithCancel(context.Background())
		s.longest(t)
		began := time.Now()
		var running sync.WaitGroup
		running.Go(func() { _ = sc.replicas[0].Run(ctx) })
		sc.await(t, "the replica is ready", func() bool { return sc.replicas[0].Ready() == nil })
		ready := time.Since(began)
		sc.await(t, "the mirror is whole", func() bool {
			state, err := sc.mirror.State(ctx)
			return err == nil && state.Intact && state.Last == int64(p.many)
		})
		fmt.Printf("| %d | %d | %.2f s | %.2f s | %.1f ms |\n", an, (p.many+an-1)/an+2, ready.Seconds(), time.Since(began).Seconds(), ms(s.longest(t)))
		cancel()
		running.Wait()
		sc.stop()
	}
}

// place makes a first login at a replica, and reports whether it was answered:
// counted, or not because of a pause.
func (s *scene) place(replica int) bool {
	return s.replicas[replica].Place(context.Background(), s.newUser()).Status != campaign.StatusRetry
}

func (s *scene) insert(int) bool {
	_, err := s.bare.InsertOne(context.Background(), bson.D{{Key: "_id", Value: rand.Text()}, {Key: "at", Value: time.Now()}})
	return err == nil
}

// result is what was measured.
type result struct {
	took    []time.Duration // of what succeeded, ascending
	failed  int
	elapsed time.Duration
}

func (r result) brief() string {
	return fmt.Sprintf("%.0f | %.1f ms | %.1f ms", float64(len(r.took))/r.elapsed.Seconds(), ms(r.quantile(0.5)), ms(r.quantile(0.99)))
}

func (r result) String() string { return fmt.Sprintf("%s | %d", r.brief(), r.failed) }

func (r result) quantile(q float64) time.Duration {
	if len(r.took) == 0 {
		return 0
	}
	return r.took[min(len(r.took)-1, int(q*float64(len(r.took))))]
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

// run calls do from so many clients for a while, each again when it returns.
func run(clients int, d time.Duration, do func(i int) bool) result {
	var n atomic.Int64
	return collect(func(call func(func() bool)) {
		var wg sync.WaitGroup
		for begin := time.Now(); clients > 0; clients-- {
			wg.Go(func() {
				for time.Since(begin) < d {
					i := int(n.Add(1))
					call(func() bool { return do(i) })
				}
			})
		}
		wg.Wait()
	})
}

// arrive calls do so many times a second for a while, whether calls return or
// not.
func arrive(rate int, d time.Duration, do func(i int) bool) result {
	return collect(func(call func(func() bool)) {
		var wg sync.WaitGroup
		every := time.Second / time.Duration(rate)
		begin := time.Now()
		for i := 0; time.Duration(i)*every < d; i++ {
			time.Sleep(time.Until(begin.Add(time.Duration(i) * every)))
			wg.Go(func() { call(func() bool { return do(i) }) })
		}
		wg.Wait()
	})
}

func collect(drive func(call func(func() bool))) result {
	var mu sync.Mutex
	var r result
	begin := time.Now()
	drive(func(do func() bool) {
		called := time.Now()
		ok := do()
		took := time.Since(called)
		mu.Lock()
		defer mu.Unlock()
		if ok {
			r.took = append(r.took, took)
		} else {
			r.failed++
		}
	})
	r.elapsed = time.Since(begin)
	slices.Sort(r.took)
	return r
}

// each runs f for every index below n, so many at once.
func each(at, n int, f func(i int) error) error {
	var g errgroup.Group
	g.SetLimit(at)
	for i := range n {
		g.Go(func() error { return f(i) })
	}
	return g.Wait()
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
