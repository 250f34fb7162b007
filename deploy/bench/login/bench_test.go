//go:build linux

// Package login holds the benchmark of the identity service: `make bench-login`
// runs the whole stack of one machine and measures logins, registrations and
// reads against what argon2id alone costs there.
package login_test

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/password/argon2id"
)

// How much is measured; see also plan.
var (
	duration = flag.Duration("login.duration", 6*time.Second, "of each measurement; the gateway lets one client make 600 requests a minute")
	accounts = flag.Int("login.accounts", 100_000, "accounts in the large store")
)

type plan struct {
	clients  []int
	duration time.Duration
	burst    int
	accounts []int
}

// BenchmarkLogin is `make bench-login`.
func BenchmarkLogin(b *testing.B) {
	measure(b, plan{[]int{1, 8, 64}, *duration, 2000, []int{1000, *accounts}})
}

// TestBenchmark holds that the benchmark works, in little time.
func TestBenchmark(t *testing.T) {
	measure(t, plan{[]int{2}, 300 * time.Millisecond, 20, []int{50, 100}})
}

const password = "correct horse battery staple"

func credentials(name string) string {
	return fmt.Sprintf(`{"username":%q,"password":%q}`, name, password)
}

// outcome is what one measurement found.
type outcome struct {
	served   int
	rate     float64 // good answers a second
	p50, p99 time.Duration
	refused  int // 503
}

// drive has n clients call until the time is over. Each call returns whether it
// was served; a refusal is counted, and not fast.
func drive(n int, limit time.Duration, call func(client, turn int) bool) outcome {
	var (
		clients sync.WaitGroup
		mu      sync.Mutex
		took    []time.Duration
		refused atomic.Int64
	)
	began := time.Now()
	for c := range n {
		clients.Go(func() {
			var own []time.Duration
			for turn := 0; time.Since(began) < limit; turn++ {
				start := time.Now()
				if call(c, turn) {
					own = append(own, time.Since(start))
				} else {
					refused.Add(1)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
		})
	}
	clients.Wait()
	all := time.Since(began)
	if len(took) == 0 {
		return outcome{refused: int(refused.Load())}
	}
	slices.Sort(took)
	return outcome{len(took), float64(len(took)) / all.Seconds(), took[len(took)/2], took[len(took)*99/100], int(refused.Load())}
}

// The default parameters of a hash.
const passes, kib, lanes = 2, 19456, 1

// raw is x/crypto's argon2id, on as many goroutines as there are cores: what
// every number of this benchmark is compared with.
func raw(limit time.Duration) outcome {
	return drive(cores(), limit, func(int, int) bool {
		argon2.IDKey([]byte(password), []byte("0123456789abcdef"), passes, kib, lanes, 32)
		return true
	})
}

// own is the argon2id that identity runs, in the same way, and the CPU time of a
// hash.
func own(t testing.TB, limit time.Duration) (got outcome, form string, cpu time.Duration) {
	hasher, err := argon2id.New(argon2id.Config{MemoryKiB: kib, Concurrency: cores()})
	if err != nil {
		t.Fatal(err)
	}
	before := cpuOf(t, "self")
	got = drive(cores(), limit, func(int, int) bool {
		hasher.IDKey(make([]byte, 32), []byte(password), []byte("0123456789abcdef"), passes, kib, lanes)
		return true
	})
	return got, hasher.Form(), (cpuOf(t, "self") - before) / time.Duration(max(got.served, 1))
}

// measure runs everything and prints the tables.
func measure(t testing.TB, p plan) {
	s := newStack(t)
	people := max(64, p.burst/8)
	for n := range people {
		s.register(t, s.Identity, fmt.Sprintf("person-%d", n))
	}
	person := func(client int) string { return credentials(fmt.Sprintf("person-%d", client%people)) }
	fmt.Printf("\n%d cores, argon2id of %d KiB and %d passes; each measurement of %s; raw, which is measured before and after each, is argon2id of x/crypto\n\n", cores(), kib, passes, p.duration)
	fmt.Println("| | clients | a second | of raw | p50 | p99 | 503 | identity's CPU a request |\n|---|---|---|---|---|---|---|---|")
	compared := func(name string, n int, call func(client, turn int) bool) {
		before := raw(p.duration / 2)
		cpu := cpuOf(t, s.pid(t))
		got := drive(n, p.duration, call)
		cpu = (cpuOf(t, s.pid(t)) - cpu) / time.Duration(max(got.served, 1))
		hashes := (before.rate + raw(p.duration/2).rate) / 2
		fmt.Printf("| %s | %d | %.1f | %.2f | %s | %s | %d | %.1f ms |\n", name, n, got.rate, got.rate/hashes,
			got.p50.Round(time.Millisecond), got.p99.Round(time.Millisecond), got.refused, ms(cpu))
	}
	alone := raw(p.duration)
	fmt.Printf("| raw argon2id, x/crypto's | %d | %.1f | 1 | %s | %s | | |\n", cores(), alone.rate, alone.p50.Round(time.Millisecond), alone.p99.Round(time.Millisecond))
	ours, form, cpu := own(t, p.duration)
	fmt.Printf("| identity's argon2id alone, %s | %d | %.1f | %.2f | %s | %s | | %.1f ms of CPU a hash |\n", form, cores(), ours.rate, ours.rate/alone.rate,
		ours.p50.Round(time.Millisecond), ours.p99.Round(time.Millisecond), ms(cpu))
	for _, n := range p.clients {
		compared("login", n, func(client, _ int) bool { return s.served(t, s.Identity, client, "/login", person(client)) })
	}
	for _, n := range p.clients {
		compared("login through the gateway", n, func(client, _ int) bool { return s.served(t, s.Gateway, client, "/login", person(client)) })
	}
	for _, way := range []struct{ name, url string }{{"registration", s.Identity}, {"registration through the gateway", s.Gateway}} {
		for _, n := range p.clients {
			compared(way.name, n, func(client, turn int) bool {
				return s.served(t, way.url, client, "/users", credentials(fmt.Sprintf("new-%d-%d-%d-%d", len(way.name), n, client, turn)))
			})
		}
	}
	reads := s.reads(t, p.duration)
	fmt.Printf("\nGET /users/{id} at 8 clients: %.0f a second, p50 %s, p99 %s\n", reads.rate, reads.p50.Round(time.Microsecond), reads.p99.Round(time.Microsecond))
	s.burst(t, p.burst, alone.rate, person)
	s.growing(t, p)
	fmt.Printf("\npeak memory of identity over all of it: %d MiB\n", s.peak(t)>>10)
}

// reads is everybody reading their own account.
func (s *stack) reads(t testing.TB, limit time.Duration) outcome {
	tokens := make([]string, 8)
	ids := make([]string, 8)
	for n := range tokens {
		ids[n], tokens[n] = s.login(t, fmt.Sprintf("person-%d", n))
	}
	return drive(8, limit, func(client, _ int) bool { return s.read(t, client, "/users/"+ids[client], tokens[client]) })
}

// burst is many logins at one moment.
func (s *stack) burst(t testing.TB, size int, hashes float64, person func(int) string) {
	var (
		clients sync.WaitGroup
		mu      sync.Mutex
		good    int
		last    time.Duration
		slowest time.Duration
	)
	s.forgetPeak(t)
	probed := testserver.Probe(t, s.Identity+"/livez")
	start := time.Now()
	for c := range size {
		clients.Go(func() {
			served := s.served(t, s.Identity, c, "/login", person(c))
			mu.Lock()
			defer mu.Unlock()
			slowest = max(slowest, time.Since(start))
			if served {
				good++
				last = max(last, time.Since(start))
			}
		})
	}
	clients.Wait()
	live := probed()
	rate := float64(good) / max(last.Seconds(), 1e-9)
	fmt.Printf("\nburst of %d logins: %d got 200 and %d got 503, the last 200 after %.1f s (%.2f of raw), the last answer after %.1f s; /livez p99 %s and at most %s; peak memory %d MiB\n",
		size, good, size-good, last.Seconds(), rate/hashes, slowest.Seconds(),
		live[len(live)*99/100].Round(time.Millisecond), live[len(live)-1].Round(time.Millisecond), s.peak(t)>>10)
}

// growing is the cost of one login in a store of each size.
func (s *stack) growing(t testing.TB, p plan) {
	fmt.Println("\n| accounts in the store | p50 of a login at 1 client | p99 |\n|---|---|---|")
	var first time.Duration
	for _, size := range p.accounts {
		s.fill(t, size)
		got := drive(1, p.duration, func(_, turn int) bool {
			return s.served(t, s.Identity, 0, "/login", credentials(fmt.Sprintf("filler-%d", turn*7919%size)))
		})
		if first == 0 {
			first = got.p50
		}
		fmt.Printf("| %d | %.2f ms (%.3f of the first) | %.2f ms |\n", size, ms(got.p50), float64(got.p50)/float64(first), ms(got.p99))
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func cores() int { return runtime.GOMAXPROCS(0) }
