package claim_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
	"github.com/earlybird/earlybird/identity/oldcampaign/ledgertest"
)

// scene is a redis-server and who claims on it.
type scene struct {
	redis   redis.UniversalClient
	claimer *campaign.Claimer
}

func user(n int64) string { return "user" + strconv.FormatInt(n, 10) }

func (s *scene) claim(ctx context.Context, user string, states ...campaign.State) error {
	out := s.claimer.Claim(ctx, user)
	for _, state := range states {
		if out.State == state {
			return nil
		}
	}
	return fmt.Errorf("claim of %s: %s, want one of %v", user, out.State, states)
}

// settings is the campaign that is measured on.
func settings(version, slots, waitlist int64) campaign.Campaign {
	return campaign.Campaign{
		ID: "1", Version: version, Name: "Early bird", Description: "30 % off for the first who log in", Discount: 30,
		Slots: slots, Waitlist: waitlist, Status: campaign.Active, ChangedAt: time.Now(), ChangedBy: "bench",
	}
}

// prepare empties the server and opens a campaign in which the users 0, 1, ...
// have arrived.
func (s *scene) prepare(t testing.TB, slots, waitlist, arrived int64) {
	t.Helper()
	ledger := ledgertest.NewMemory()
	if err := s.redis.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := ledger.AddVersion(t.Context(), settings(1, slots, waitlist)); err != nil {
		t.Fatal(err)
	}
	k := keeper.New(keeper.Config{Ledger: ledger, Redis: s.redis, Log: slog.New(slog.DiscardHandler)})
	if _, err := k.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	const batch = 10_000
	for from := int64(0); from < arrived; from += batch {
		var users []redis.Z
		for n := from; n < min(from+batch, arrived); n++ {
			users = append(users, redis.Z{Score: float64(n + 1), Member: user(n)})
		}
		if err := s.redis.ZAdd(t.Context(), campaign.KeyArrivals, users...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.redis.HSet(t.Context(), campaign.KeyCampaign, "last", arrived).Err(); err != nil {
		t.Fatal(err)
	}
}

// apply raises the slots, and returns the microseconds it took redis-server.
func (s *scene) apply(t testing.TB, slots int64) float64 {
	t.Helper()
	before := s.evalTime(t)
	if err := campaign.NewBoard(s.redis).Apply(t.Context(), settings(2, slots, campaign.MaxWaitlist)); err != nil {
		t.Fatal(err)
	}
	return s.evalTime(t) - before
}

// evalTime is how many microseconds the server has spent in scripts.
func (s *scene) evalTime(t testing.TB) float64 {
	t.Helper()
	stats, err := s.redis.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for line := range strings.SplitSeq(stats, "\r\n") {
		if !strings.HasPrefix(line, "cmdstat_eval:") && !strings.HasPrefix(line, "cmdstat_evalsha:") {
			continue
		}
		_, rest, _ := strings.Cut(line, "usec=")
		text, _, _ := strings.Cut(rest, ",")
		us, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += us
	}
	return sum
}

// machine says what the numbers were measured on, and how busy it was.
func machine(s *scene) string {
	read := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(b))
	}
	info, _ := s.redis.Info(context.Background(), "server").Result()
	_, rest, _ := strings.Cut(info, "redis_version:")
	version, _, _ := strings.Cut(rest, "\r\n")
	_, rest, _ = strings.Cut(read("/proc/cpuinfo"), "model name\t: ")
	cpu, _, _ := strings.Cut(rest, "\n")
	load, _, _ := strings.Cut(read("/proc/loadavg"), " ")
	return fmt.Sprintf("%s, %s %s, %d cores (%s), %s, Redis %s, load average at the start %s",
		time.Now().Format(time.DateOnly), runtime.GOOS, read("/proc/sys/kernel/osrelease"), runtime.NumCPU(), cpu, runtime.Version(), version, load)
}
