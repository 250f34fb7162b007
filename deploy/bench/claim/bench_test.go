package claim_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// How much is measured; see also plan.
var (
	rounds   = flag.Int("claim.rounds", 9, "how often each case is measured; the median counts")
	duration = flag.Duration("claim.duration", 200*time.Millisecond, "of each measurement")
)

type plan struct {
	clients  []int
	rounds   int
	duration time.Duration
	winners  [2]int64
	raise    []int64
}

// BenchmarkClaim is `make bench-claim`.
func BenchmarkClaim(b *testing.B) {
	measure(b, plan{[]int{1, 8, 64}, *rounds, *duration, [2]int64{100, 100_000}, []int64{100, 1000, 10_000}})
}

// TestBenchmark holds that the benchmark works, in little time.
func TestBenchmark(t *testing.T) {
	measure(t, plan{[]int{1, 8}, 1, 10 * time.Millisecond, [2]int64{10, 100}, []int64{1, 10}})
}

func measure(t testing.TB, p plan) {
	t.Helper()
	memory := newScene(t, "--appendonly", "no")
	durable := newScene(t)
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n\n", machine(memory))
	fmt.Fprintf(&out, "Claims per second, and as a ratio to the bare script (median of %d rounds of %s).\n\n", p.rounds, p.duration)
	fmt.Fprintf(&out, "Nothing on disk (appendonly no), bare is EVALSHA \"return 1\":\n\n")
	ratios(t, &out, p, memory, bare, append(claims(), bareWrite))
	fmt.Fprintf(&out, "\nOn disk before each answer (appendfsync always), bare is EVALSHA of one SET:\n\n")
	ratios(t, &out, p, durable, bareWrite, append(claims(), bare))
	fmt.Fprintf(&out, "\nCost of a claim by the number of winners (8 clients, appendonly no):\n\n")
	winners(t, &out, p)
	fmt.Fprintf(&out, "\nRaising the slots by k, with those k on the waiting list (time in redis-server):\n\n")
	raises(t, &out, p, memory)
	fmt.Println(out.String())
}

// operation is what the clients do, on a campaign of these settings.
type operation struct {
	name            string
	slots, waitlist int64
	arrived         int64 // users who have a position before it begins
	do              func(ctx context.Context, s *scene, n int64) error
}

var (
	nothing  = redis.NewScript("return 1")
	oneWrite = redis.NewScript("return redis.call('SET', KEYS[1], ARGV[1])")

	bare = operation{"bare", 1, 0, 0, func(ctx context.Context, s *scene, _ int64) error {
		return nothing.Run(ctx, s.redis, nil).Err()
	}}
	bareWrite = operation{"bare write", 1, 0, 0, func(ctx context.Context, s *scene, n int64) error {
		return oneWrite.Run(ctx, s.redis, []string{"earlybird:{earlybird}:bench"}, n).Err()
	}}
)

func claims() []operation {
	return []operation{
		{"new", campaign.MaxSlots, campaign.MaxWaitlist, 0, func(ctx context.Context, s *scene, n int64) error {
			return s.claim(ctx, user(n), campaign.StateGranted, campaign.StateFull)
		}},
		{"granted", 100, 0, 100, func(ctx context.Context, s *scene, n int64) error {
			return s.claim(ctx, user(n%100), campaign.StateGranted)
		}},
		{"full", 1, 0, 1, func(ctx context.Context, s *scene, n int64) error {
			return s.claim(ctx, user(n+1), campaign.StateFull)
		}},
	}
}

// ratios measures each operation beside the base, round by round, so that a
// machine that gets slower slows both.
func ratios(t testing.TB, out *strings.Builder, p plan, s *scene, base operation, ops []operation) {
	t.Helper()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "clients\t", base.name, "/s")
	for _, op := range ops {
		fmt.Fprint(table, "\t", op.name, "/s\tratio")
	}
	fmt.Fprintln(table)
	for _, clients := range p.clients {
		rates := make([][]float64, len(ops))
		shares := make([][]float64, len(ops))
		var bases []float64
		for range p.rounds {
			of := s.rate(t, base, clients, p.duration)
			bases = append(bases, of)
			for i, op := range ops {
				r := s.rate(t, op, clients, p.duration)
				rates[i], shares[i] = append(rates[i], r), append(shares[i], r/of)
			}
		}
		fmt.Fprintf(table, "%d\t%.0f", clients, median(bases))
		for i := range ops {
			fmt.Fprintf(table, "\t%.0f\t%.2f", median(rates[i]), median(shares[i]))
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush()
}

// winners compares claims among few winners with claims among many, on two
// servers in turn.
func winners(t testing.TB, out *strings.Builder, p plan) {
	t.Helper()
	few, many := newScene(t, "--appendonly", "no"), newScene(t, "--appendonly", "no")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "claim\t%d winners/s\t%d winners/s\tcost\n", p.winners[0], p.winners[1])
	for _, name := range []string{"granted", "full"} {
		var rates [2][]float64
		var cost []float64
		for range p.rounds {
			for i, s := range []*scene{few, many} {
				n := p.winners[i]
				op := operation{name, n, 0, n, func(ctx context.Context, s *scene, i int64) error {
					return s.claim(ctx, user(i*7919%n), campaign.StateGranted)
				}}
				if name == "full" {
					op.do = func(ctx context.Context, s *scene, i int64) error {
						return s.claim(ctx, user(n+i), campaign.StateFull)
					}
				}
				rates[i] = append(rates[i], s.rate(t, op, 8, p.duration))
			}
			last := len(rates[0]) - 1
			cost = append(cost, rates[0][last]/rates[1][last])
		}
		fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%.2f\n", name, median(rates[0]), median(rates[1]), median(cost))
	}
	_ = table.Flush()
}

// raises measures what it takes to grant at once to those who were turned away.
func raises(t testing.TB, out *strings.Builder, p plan, s *scene) {
	t.Helper()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "k\tin all\tper grant")
	s.prepare(t, 1, 1, 2)
	s.apply(t, 2) // the server has the script
	for _, k := range p.raise {
		var took []float64
		for range p.rounds {
			s.prepare(t, 100, campaign.MaxWaitlist, 100+2*k)
			took = append(took, s.apply(t, 100+k))
		}
		fmt.Fprintf(table, "%d\t%.0f us\t%.2f us\n", k, median(took), median(took)/float64(k))
	}
	_ = table.Flush()
}

// rate runs the operation in so many clients for a while, and returns how many
// it did per second.
func (s *scene) rate(t testing.TB, op operation, clients int, d time.Duration) float64 {
	t.Helper()
	s.prepare(t, op.slots, op.waitlist, op.arrived)
	run := func(d time.Duration) float64 {
		var wg sync.WaitGroup
		var done, n atomic.Int64
		begin := time.Now()
		for range clients {
			wg.Go(func() {
				for time.Since(begin) < d {
					if err := op.do(t.Context(), s, n.Add(1)); err != nil {
						t.Errorf("%s: %v", op.name, err)
						return
					}
					done.Add(1)
				}
			})
		}
		wg.Wait()
		return float64(done.Load()) / time.Since(begin).Seconds()
	}
	run(d / 20) // the connections and the script are there
	return run(d)
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

func newScene(t testing.TB, args ...string) *scene {
	t.Helper()
	server := testserver.Redis(t, testserver.WithRedisArgs(args...))
	client, err := redisdb.Connect(redisdb.Config{URL: server.URL(), PoolSize: 64})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return &scene{
		redis: client,
		// The time limit is no subject here, and a full second is waited for.
		claimer: campaign.NewClaimer(campaign.ClaimerConfig{Redis: client, Timeout: 10 * time.Second}),
	}
}
