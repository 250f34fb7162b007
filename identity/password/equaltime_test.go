package password_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/memstore"
	"github.com/earlybird/earlybird/identity/password"
)

// quick is what OWASP allows that takes the least memory.
var quick = password.Params{MemoryKiB: 7168, Time: 5, Parallelism: 1}

// welch is Welch's t of two samples, after the slowest tenth of each is cut:
// that is other programs' time.
func welch(a, b []time.Duration) float64 {
	mean := func(s []time.Duration) (m, v, n float64) {
		s = slices.Sorted(slices.Values(s))
		s = s[:len(s)*9/10]
		for _, d := range s {
			m += float64(d)
		}
		n = float64(len(s))
		m /= n
		for _, d := range s {
			v += (float64(d) - m) * (float64(d) - m)
		}
		return m, v / (n - 1), n
	}
	ma, va, na := mean(a)
	mb, vb, nb := mean(b)
	return (ma - mb) / math.Sqrt(va/na+vb/nb)
}

// withoutDummy is a hasher that does no work for nobody: the fault that the
// test must find.
type withoutDummy struct{ *password.Hasher }

func (withoutDummy) VerifyNobody(context.Context, string) error { return nil }

// measure returns the times of interleaved failing logins, by the reason.
func measure(t *testing.T, h account.Hasher) map[string][]time.Duration {
	t.Helper()
	store := memstore.New()
	s, err := account.NewService(account.ServiceConfig{Store: store, Hasher: h, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const right = "correct horse battery staple"
	for _, name := range []string{"alice", "closed"} {
		if _, err := s.Register(t.Context(), account.Registration{Username: name, Password: right}); err != nil {
			t.Fatal(err)
		}
	}
	store.Disable("closed", true)
	requests := map[string]account.LoginRequest{
		"wrong":    {Username: "alice", Password: "wrong"},
		"unknown":  {Username: "nobody", Password: "wrong"},
		"disabled": {Username: "closed", Password: right},
	}
	times := map[string][]time.Duration{}
	order := []string{"wrong", "unknown", "disabled"}
	const rounds = 40
	for range rounds {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, name := range order {
			start := time.Now()
			_, err := s.Authenticate(t.Context(), requests[name])
			times[name] = append(times[name], time.Since(start))
			if !errors.Is(err, account.ErrBadCredentials) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	return times
}

// The time of a refusal does not tell whether a name exists (OWASP ASVS 5.0
// 6.3.8). The threshold is far above what chance gives, once in a million, and
// far below what a missing hash does; a machine that is busy gets three tries.
func TestEqualTime(t *testing.T) {
	const threshold = 5
	h, err := password.NewHasher(password.Config{Params: quick})
	if err != nil {
		t.Fatal(err)
	}
	for try := 1; ; try++ {
		times := measure(t, h)
		unknown, disabled := welch(times["wrong"], times["unknown"]), welch(times["wrong"], times["disabled"])
		t.Logf("t of wrong and unknown %.1f, of wrong and disabled %.1f", unknown, disabled)
		if math.Abs(unknown) < threshold && math.Abs(disabled) < threshold {
			break
		}
		if try == 3 {
			t.Fatal("refusals differ in time")
		}
	}
	for try := 1; ; try++ {
		times := measure(t, withoutDummy{h})
		got := welch(times["wrong"], times["unknown"])
		t.Logf("without the dummy hash t is %.1f", got)
		if got > threshold {
			break
		}
		if try == 3 {
			t.Fatal("this test would not see a missing dummy hash")
		}
	}
}
