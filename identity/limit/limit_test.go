package limit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/limit"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// slow rates give nothing back while a test runs.
var (
	three = limit.Rate{Burst: 3, Every: time.Hour}
	two   = limit.Rate{Burst: 2, Every: time.Hour}
	many  = limit.Rate{Burst: 1000, Every: time.Hour}
)

// patient is a time for Redis that a busy machine keeps.
const patient = 10 * time.Second

func connect(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	client, err := redisdb.Connect(redisdb.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// everywhere runs a test on Redis and in memory.
func everywhere(t *testing.T, run func(t *testing.T, client redis.UniversalClient)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { run(t, nil) })
	t.Run("redis", func(t *testing.T) { run(t, connect(t, testserver.Redis(t).URL())) })
}

// refusedBy makes attempts and returns what refused the first that was, and
// after how many.
func refusedBy(t *testing.T, l *limit.Limiter, account, address string, n int) (limit.Kind, int) {
	t.Helper()
	for i := range n {
		_, err := l.Take(t.Context(), account, address)
		var limited *limit.LimitedError
		if errors.As(err, &limited) {
			if limited.RetryAfter <= 0 || limited.RetryAfter > time.Hour {
				t.Errorf("retry after %s", limited.RetryAfter)
			}
			return limited.Limit, i
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return "", n
}

func take(t *testing.T, l *limit.Limiter, account, address string) *limit.Pass {
	t.Helper()
	pass, err := l.Take(t.Context(), account, address)
	if err != nil {
		t.Fatalf("%s from %s: %v", account, address, err)
	}
	return pass
}

func TestLimits(t *testing.T) {
	everywhere(t, func(t *testing.T, client redis.UniversalClient) {
		for _, test := range []struct {
			name    string
			config  limit.Config
			account string
			other   func(i int) (account, address string) // attempts before
			before  int
			want    limit.Kind
			after   int
		}{
			{"address", limit.Config{Address: three}, "alice", nil, 0, limit.ByAddress, 3},
			{"no account", limit.Config{Address: three, Account: two, Both: two}, "", nil, 0, limit.ByAddress, 3},
			{"account", limit.Config{Account: three}, "alice", nil, 0, limit.ByAccount, 3},
			{"both", limit.Config{Account: three, Both: two}, "alice", nil, 0, limit.ByBoth, 2},
			{"off", limit.Config{}, "alice", nil, 0, "", 10},
			{
				"account, from many addresses",
				limit.Config{Account: three, Both: two},
				"alice",
				func(i int) (string, string) { return "alice", fmt.Sprintf("192.0.2.%d", i) },
				3, limit.ByAccount, 0,
			},
			{
				"another account",
				limit.Config{Account: three, Both: two},
				"alice",
				func(int) (string, string) { return "bob", "203.0.113.7" },
				2, limit.ByBoth, 2,
			},
		} {
			t.Run(test.name, func(t *testing.T) {
				test.config.Redis = client
				if client != nil {
					client.FlushAll(t.Context())
				}
				l := limit.New(test.config)
				for i := range test.before {
					account, address := test.other(i)
					take(t, l, account, address)
				}
				if kind, after := refusedBy(t, l, test.account, "203.0.113.7", 10); kind != test.want || after != test.after {
					t.Errorf("refused by %q after %d, want %q after %d", kind, after, test.want, test.after)
				}
			})
		}
	})
}

// inFlight notes how many scripts are under way at once.
type inFlight struct{ now, most atomic.Int64 }

func (f *inFlight) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f *inFlight) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !strings.HasPrefix(cmd.Name(), "eval") { // greets a new connection
			return next(ctx, cmd)
		}
		n := f.now.Add(1)
		defer f.now.Add(-1)
		for most := f.most.Load(); n > most && !f.most.CompareAndSwap(most, n); most = f.most.Load() {
		}
		return next(ctx, cmd)
	}
}

func (f *inFlight) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// A burst waits before the time for an answer begins: else Redis would be taken
// for slow, and left alone, whenever many log in at once. Checked without the bound.
func TestBurstIsNotASlowRedis(t *testing.T) {
	client := connect(t, testserver.Redis(t).URL())
	flight := &inFlight{}
	client.AddHook(flight)
	l := limit.New(limit.Config{Redis: client, Address: many, Timeout: 10 * time.Second})
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() { _, _ = l.Take(t.Context(), "alice", "192.0.2.1") })
	}
	all.Wait()
	if most := flight.most.Load(); most > 16 {
		t.Errorf("redis was asked %d times at once, want at most 16", most)
	}
}

// A customer's IPv6 addresses are one.
func TestIPv6(t *testing.T) {
	l := limit.New(limit.Config{Address: three})
	for i := range 3 {
		take(t, l, "bob", fmt.Sprintf("2001:db8::%d", i))
	}
	if kind, _ := refusedBy(t, l, "carol", "2001:db8:0:0:ffff::1", 1); kind != limit.ByAddress {
		t.Errorf("the same /64: refused by %q", kind)
	}
	if kind, _ := refusedBy(t, l, "carol", "2001:db8:0:1::1", 1); kind != "" {
		t.Errorf("another /64: refused by %q", kind)
	}
}

// A success gives back what it took, and so does what was not decided; a
// failure does not.
func TestGivesBack(t *testing.T) {
	everywhere(t, func(t *testing.T, client redis.UniversalClient) {
		l := limit.New(limit.Config{Redis: client, Timeout: patient, Account: two, Both: two, Address: many})
		for range 10 {
			take(t, l, "alice", "192.0.2.1").Succeeded(t.Context())
			take(t, l, "bob", "192.0.2.1").Undecided(t.Context())
		}
		for _, account := range []string{"alice", "bob"} {
			if _, after := refusedBy(t, l, account, "192.0.2.1", 5); after != 2 {
				t.Errorf("%s: refused after %d failures, want 2", account, after)
			}
		}
	})
}

// The limit by address counts successes too.
func TestAddressCountsSuccess(t *testing.T) {
	everywhere(t, func(t *testing.T, client redis.UniversalClient) {
		l := limit.New(limit.Config{Redis: client, Timeout: patient, Account: many, Both: many, Address: two})
		for range 2 {
			take(t, l, "alice", "192.0.2.1").Succeeded(t.Context())
		}
		if kind, _ := refusedBy(t, l, "alice", "192.0.2.1", 1); kind != limit.ByAddress {
			t.Errorf("refused by %q", kind)
		}
	})
}

// Whoever attacks an account from elsewhere does not keep its owner out, and
// an address of the owner's buys nobody more than the limit by both.
func TestOwnerIsNotLockedOut(t *testing.T) {
	everywhere(t, func(t *testing.T, client redis.UniversalClient) {
		l := limit.New(limit.Config{Redis: client, Timeout: patient, Account: three, Both: two})
		take(t, l, "alice", "192.0.2.1").Succeeded(t.Context())
		for i := range 10 {
			_, _ = l.Take(t.Context(), "alice", fmt.Sprintf("203.0.113.%d", i))
		}
		if kind, after := refusedBy(t, l, "alice", "198.51.100.1", 1); kind != limit.ByAccount || after != 0 {
			t.Errorf("a stranger: refused by %q after %d, want by account at once", kind, after)
		}
		if kind, after := refusedBy(t, l, "alice", "192.0.2.1", 5); kind != limit.ByBoth || after != 2 {
			t.Errorf("the owner's address: refused by %q after %d, want by both after 2", kind, after)
		}
		if kind, _ := refusedBy(t, l, "bob", "192.0.2.1", 1); kind != "" {
			t.Errorf("another account at this address: refused by %q", kind)
		}
	})
}

func TestKnownAddressesAreBounded(t *testing.T) {
	client := connect(t, testserver.Redis(t).URL())
	l := limit.New(limit.Config{Redis: client, Timeout: patient, Account: many})
	for i := range 40 {
		take(t, l, "alice", fmt.Sprintf("192.0.2.%d", i)).Succeeded(t.Context())
	}
	var known string
	for _, key := range client.Keys(t.Context(), "*").Val() {
		ttl := client.PTTL(t.Context(), key).Val()
		if ttl <= 0 || ttl > 30*24*time.Hour {
			t.Errorf("%s lives for %s", key, ttl)
		}
		if strings.Contains(key, "alice") || strings.Contains(key, "192.0.2") {
			t.Errorf("%s shows whose it is", key)
		}
		if !strings.HasPrefix(key, "earlybird:{earlybird}:limit:") {
			t.Errorf("%s is outside of the prefix", key)
		}
		if strings.Contains(key, ":known:") {
			known = key
		}
	}
	if n := client.ZCard(t.Context(), known).Val(); n != 16 {
		t.Errorf("%d addresses are remembered, want 16", n)
	}
}

// Keys end with the debt they hold.
func TestRateGivesBack(t *testing.T) {
	everywhere(t, func(t *testing.T, client redis.UniversalClient) {
		l := limit.New(limit.Config{Redis: client, Timeout: patient, Address: limit.Rate{Burst: 2, Every: 50 * time.Millisecond}})
		start := time.Now()
		passed := 0
		for time.Since(start) < 300*time.Millisecond {
			_, err := l.Take(t.Context(), "", "192.0.2.1")
			var limited *limit.LimitedError
			switch {
			case err == nil:
				passed++
			case !errors.As(err, &limited) || limited.RetryAfter > 50*time.Millisecond:
				t.Fatal(err)
			}
		}
		if most := 2 + int(time.Since(start)/(50*time.Millisecond)); passed < 4 || passed > most {
			t.Errorf("%d passed, want 4 to %d", passed, most)
		}
	})
}

// Many at once do not get more than the burst.
func TestAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, client redis.UniversalClient) {
		l := limit.New(limit.Config{Redis: client, Account: limit.Rate{Burst: 20, Every: time.Hour}, Timeout: 10 * time.Second})
		var passed atomic.Int64
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := l.Take(t.Context(), "alice", "192.0.2.1"); err == nil {
					passed.Add(1)
				}
			})
		}
		all.Wait()
		if passed.Load() != 20 {
			t.Errorf("%d passed, want 20", passed.Load())
		}
	})
}

// While Redis is down the limits hold in each process, owners are still known,
// and afterwards Redis decides again.
func TestRedisDown(t *testing.T) {
	server := testserver.Redis(t)
	now := time.Now()
	var log bytes.Buffer
	l := limit.New(limit.Config{
		Redis: connect(t, server.URL()), Account: three, Both: two,
		Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	take(t, l, "alice", "192.0.2.1").Succeeded(t.Context())
	server.Kill()
	for i := range 10 {
		_, _ = l.Take(t.Context(), "alice", fmt.Sprintf("203.0.113.%d", i))
	}
	if kind, after := refusedBy(t, l, "alice", "198.51.100.1", 1); kind != limit.ByAccount || after != 0 {
		t.Errorf("a stranger: refused by %q after %d", kind, after)
	}
	if _, after := refusedBy(t, l, "alice", "192.0.2.1", 5); after != 2 {
		t.Errorf("the owner's address: refused after %d, want 2", after)
	}
	server.Start()
	// It is asked for a moment only, once a second: on a busy machine again.
	for tries := 1; ; tries++ {
		now = now.Add(2 * time.Second)
		kind, _ := refusedBy(t, l, "alice", "198.51.100.1", 1)
		if kind == "" {
			break
		}
		if tries == 100 {
			t.Fatalf("with redis back: refused by %q", kind)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("%d lines were logged, want one for each turn:\n%s", n, log.String())
	}
}

// A Redis that does not answer costs its time limit once, not every attempt.
func TestRedisHangs(t *testing.T) {
	client := connect(t, testserver.Redis(t).URL())
	if err := client.Do(t.Context(), "CLIENT", "PAUSE", "60000", "ALL").Err(); err != nil {
		t.Fatal(err)
	}
	l := limit.New(limit.Config{Redis: client, Address: three, Timeout: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	start := time.Now()
	if kind, after := refusedBy(t, l, "alice", "192.0.2.1", 100); kind != limit.ByAddress || after != 3 {
		t.Errorf("refused by %q after %d", kind, after)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("four attempts took %s", took)
	}
}

// While Redis goes on not answering, the attempt that asks again waits less
// than the first did.
func TestRedisHangsOn(t *testing.T) {
	client := connect(t, testserver.Redis(t).URL())
	if err := client.Do(t.Context(), "CLIENT", "PAUSE", "60000", "ALL").Err(); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	l := limit.New(limit.Config{
		Redis: client, Account: many, Timeout: 2 * time.Second,
		Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
	})
	for i, want := range []struct{ least, most time.Duration }{{2 * time.Second, time.Minute}, {10 * time.Millisecond, 1500 * time.Millisecond}} {
		start := time.Now()
		take(t, l, "alice", "192.0.2.1")
		if took := time.Since(start); took < want.least || took > want.most {
			t.Errorf("attempt %d took %s, want between %s and %s", i+1, took, want.least, want.most)
		}
		now = now.Add(2 * time.Second)
	}
}

// What an attempt asks of Redis has one time for all of it: the refund has what
// the decision has left. Checked by giving the refund the whole time again.
func TestRefundHasWhatIsLeft(t *testing.T) {
	client := connect(t, testserver.Redis(t).URL())
	l := limit.New(limit.Config{Redis: client, Account: three, Timeout: 2 * time.Second, Log: slog.New(slog.DiscardHandler)})
	take(t, l, "alice", "192.0.2.1").Undecided(t.Context()) // the scripts are loaded
	client.AddHook(slow(time.Second))
	pass := take(t, l, "alice", "192.0.2.1")
	if err := client.Do(t.Context(), "CLIENT", "PAUSE", "60000", "ALL").Err(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	pass.Succeeded(t.Context())
	if took := time.Since(start); took > 1500*time.Millisecond {
		t.Errorf("after a decision that took 1 s of 2, the refund waited for %s", took)
	}
}

// slow delays what comes after a command.
type slow time.Duration

func (slow) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s slow) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if cmd.Name() == "evalsha" && err == nil {
			time.Sleep(time.Duration(s)) // it is the delay that is tested
		}
		return err
	}
}

func (slow) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// After a clock was set back, no wait is longer than the rate asks for, and one
// attempt that succeeds is given back. Checked by taking each clamp out.
func TestClockSetBack(t *testing.T) {
	const back = 5 * time.Hour
	for name, account := range map[string]limit.Rate{"a full bucket": three, "one taken": {Burst: 2, Every: time.Minute}} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, client redis.UniversalClient) {
				now := time.Now()
				l := limit.New(limit.Config{Redis: client, Timeout: patient, Account: account, Now: func() time.Time { return now }})
				for range account.Burst {
					take(t, l, "alice", "203.0.113.9")
				}
				now = now.Add(-back)
				setAhead(t, client, back)
				_, err := l.Take(t.Context(), "alice", "203.0.113.9")
				var limited *limit.LimitedError
				if !errors.As(err, &limited) || limited.RetryAfter > account.Every {
					t.Fatalf("%v, want a wait of at most %s", err, account.Every)
				}
				if client == nil {
					return
				}
				states, err := limit.Inspect(t.Context(), client, "alice", nil)
				if err != nil || len(states) != 1 || states[0].Wait > account.Every {
					t.Errorf("%+v, %v: want a wait of at most %s", states, err, account.Every)
				}
			})
		})
	}
	t.Run("refund", func(t *testing.T) {
		client := connect(t, testserver.Redis(t).URL())
		l := limit.New(limit.Config{Redis: client, Timeout: patient, Account: three})
		pass := take(t, l, "alice", "203.0.113.9")
		take(t, l, "alice", "203.0.113.9")
		setAhead(t, client, back)
		pass.Undecided(t.Context())
		take(t, l, "alice", "203.0.113.9") // the burst is used up at most, less the refund
	})
	t.Run("an owner's address", func(t *testing.T) {
		for name, c := range map[string]struct {
			back time.Duration
			want bool
		}{"an hour": {time.Hour, true}, "a year": {365 * 24 * time.Hour, false}} {
			t.Run(name, func(t *testing.T) {
				client := connect(t, testserver.Redis(t).URL())
				l := limit.New(limit.Config{Redis: client, Timeout: patient, Account: three, Both: two})
				take(t, l, "alice", "192.0.2.1").Succeeded(t.Context())
				setAhead(t, client, c.back)
				take(t, l, "alice", "192.0.2.1")
				states, err := limit.Inspect(t.Context(), client, "alice", []string{"192.0.2.1"})
				if err != nil || len(states) == 0 {
					t.Fatal(states, err)
				}
				if got := states[len(states)-1].Known; got != c.want {
					t.Errorf("shown as known: %t, want %t", got, c.want)
				}
				if spared := states[0].Limit != limit.ByAccount; spared != c.want {
					t.Errorf("spared the limit by account: %t, want %t", spared, c.want)
				}
			})
		}
	})
	t.Run("an owner's address is seen anew", func(t *testing.T) {
		client := connect(t, testserver.Redis(t).URL())
		l := limit.New(limit.Config{Redis: client, Timeout: patient, Account: three, Both: two})
		take(t, l, "alice", "192.0.2.1").Succeeded(t.Context())
		setAhead(t, client, 365*24*time.Hour)
		take(t, l, "alice", "192.0.2.1").Succeeded(t.Context())
		take(t, l, "alice", "192.0.2.1")
		states, err := limit.Inspect(t.Context(), client, "alice", []string{"192.0.2.1"})
		if err != nil || len(states) == 0 || !states[len(states)-1].Known {
			t.Errorf("%+v, %v: not known", states, err)
		}
	})
}

// setAhead puts every time in Redis further ahead, as a clock that is set back
// does, and lets no key end sooner.
func setAhead(t *testing.T, client redis.UniversalClient, by time.Duration) {
	t.Helper()
	if client == nil {
		return
	}
	keys, err := client.Keys(t.Context(), "*:limit:*").Result()
	if err != nil || len(keys) == 0 {
		t.Fatal(keys, err)
	}
	for _, key := range keys {
		if strings.Contains(key, ":known:") {
			for _, member := range client.ZRange(t.Context(), key, 0, -1).Val() {
				if err := client.ZIncrBy(t.Context(), key, by.Seconds(), member).Err(); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		var free, every, burst int64
		if _, err := fmt.Sscanf(client.Get(t.Context(), key).Val(), "%d:%d:%d", &free, &every, &burst); err != nil {
			t.Fatal(err)
		}
		value := fmt.Sprintf("%d:%d:%d", free+by.Microseconds(), every, burst)
		if err := client.Set(t.Context(), key, value, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// Memory stays bounded whatever names are made up, and what was used last
// stays in it.
func TestMemoryIsBounded(t *testing.T) {
	l := limit.New(limit.Config{Both: two, Size: 100})
	for i := range 1000 {
		take(t, l, fmt.Sprint("nobody", i), "192.0.2.1")
	}
	if n := limit.Held(l); n > 100 {
		t.Errorf("%d keys are held, want at most 100", n)
	}
	if _, after := refusedBy(t, l, "nobody999", "192.0.2.1", 5); after != 1 {
		t.Errorf("the last was forgotten: refused after %d, want 1", after)
	}
}

func TestInspect(t *testing.T) {
	t.Run("redis", func(t *testing.T) { inspect(t, connect(t, testserver.Redis(t).URL())) })
	// Checked by keys without the tag that keeps them in one slot.
	t.Run("cluster", func(t *testing.T) { inspect(t, connect(t, testserver.RedisCluster(t))) })
}

func inspect(t *testing.T, client redis.UniversalClient) {
	l := limit.New(limit.Config{Redis: client, Timeout: patient, Account: three, Both: two, Address: many})
	take(t, l, "alice", "192.0.2.1").Succeeded(t.Context())
	for range 2 {
		take(t, l, "alice", "203.0.113.9")
	}
	take(t, l, "alice", "2001:db8::1").Undecided(t.Context())
	got, err := limit.Inspect(t.Context(), client, "alice", []string{"192.0.2.1", "203.0.113.9", "198.51.100.1", "2001:db8::1", "2001:db8::2"})
	if err != nil {
		t.Fatal(err)
	}
	want := []limit.State{
		{Limit: limit.ByAccount, Left: 1, Burst: 3},
		{Limit: limit.ByAddress, Address: "192.0.2.1", Left: 999, Burst: 1000, Known: true},
		{Limit: limit.ByBoth, Address: "203.0.113.9", Left: 0, Burst: 2, Wait: time.Hour},
		{Limit: limit.ByAddress, Address: "203.0.113.9", Left: 998, Burst: 1000},
		{Limit: limit.ByAddress, Address: "2001:db8::/64", Left: 999, Burst: 1000},
	}
	for i := range got {
		got[i].Wait = got[i].Wait.Round(time.Minute)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("states\n%+v, want\n%+v", got, want)
	}
	if err := limit.Forget(t.Context(), client, "alice"); err != nil {
		t.Fatal(err)
	}
	got, err = limit.Inspect(t.Context(), client, "alice", []string{"192.0.2.1"})
	if want := []limit.State{{Limit: limit.ByAddress, Address: "192.0.2.1", Left: 999, Burst: 1000}}; err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("of an account that was deleted: %+v, %v; want its address's limit alone", got, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := limit.Forget(gone, client, "alice"); err == nil {
		t.Error("forgotten without an answer")
	}
	if _, err := limit.Inspect(gone, client, "alice", nil); err == nil {
		t.Error("no error without an answer")
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]limit.Rate{
		"600,600/m": {Burst: 600, Every: 100 * time.Millisecond}, "100,60/h": {Burst: 100, Every: time.Minute}, "off": {}, "1,1/d": {Burst: 1, Every: 24 * time.Hour},
	} {
		if got, err := limit.ParseRate(text); got != want || err != nil {
			t.Errorf("%q = %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "hunter2", "0,1/m", "1,0/m", "1,1/y", "1,1", "-1,1/m", "1000001,1/s", "400,1/d", "1,1000000000/s", "1,1/m "} {
		if _, err := limit.ParseRate(text); err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: error %v, want one that does not repeat it", text, err)
		}
	}
}

func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "": "unknown", "x": "unknown",
	} {
		if got := limit.Network(address); got != want {
			t.Errorf("%q counts as %q, want %q", address, got, want)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	server := testserver.Redis(b)
	client, err := redisdb.Connect(redisdb.Config{URL: server.URL()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	l := limit.New(limit.Config{Redis: client, Timeout: patient, Account: many, Both: many, Address: many})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			pass, err := l.Take(context.Background(), "alice", "192.0.2.1")
			if err == nil {
				pass.Succeeded(context.Background())
			}
		}
	})
}
