package limit

import (
	"context"
	_ "embed" // the scripts
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/redisdb"
)

var (
	//go:embed lua/take.lua
	takeLua string
	//go:embed lua/settle.lua
	settleLua string

	takeScript   = redis.NewScript(takeLua)
	settleScript = redis.NewScript(settleLua)
)

const (
	// knownFor is how long an address is remembered after a login from it.
	knownFor = 30 * 24 * time.Hour
	// knownMost is how many addresses of an account are remembered.
	knownMost = 16
	// atOnce is how many ask Redis at the same time. The others wait before their
	// time limit begins, so that a burst is not mistaken for a slow Redis.
	atOnce = 16
)

// DefaultTimeout is how long an attempt waits for Redis by default, from Take to
// what is given back.
const DefaultTimeout = 150 * time.Millisecond

// Config configures a Limiter. A zero Rate allows everything.
type Config struct {
	Redis                  redis.UniversalClient // nil: the limits are kept in memory alone
	Address, Account, Both Rate
	Timeout                time.Duration    // for Redis in all that an attempt asks of it; zero: DefaultTimeout
	Size                   int              // keys kept in memory while Redis is down; zero: 65,536
	Now                    func() time.Time // of the limits kept in memory; nil: time.Now
	Log                    *slog.Logger     // nil: slog.Default
}

// Limiter keeps the limits. It is safe for concurrent use.
type Limiter struct {
	cfg     Config
	local   *memory
	asking  chan struct{} // held while Redis is asked
	breaker redisdb.Breaker
}

// New returns a Limiter.
func New(c Config) *Limiter {
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Size <= 0 {
		c.Size = 1 << 16
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	l := &Limiter{cfg: c, local: newMemory(c.Size), asking: make(chan struct{}, atOnce)}
	l.breaker.Now, l.breaker.Changed = c.Now, l.report
	return l
}

// report says once when Redis is lost, and once when it is back.
func (l *Limiter) report(ctx context.Context, err error) {
	if err != nil {
		l.cfg.Log.WarnContext(ctx, "limits are kept by this process alone until redis answers", "err", err)
		return
	}
	l.cfg.Log.InfoContext(ctx, "limits are kept in redis again")
}

// Take counts an attempt at an account from an address, or fails with a
// *LimitedError and counts nothing. The account is a canonical username, or
// whatever was typed in its place; empty when there is none yet, and then only
// the limit by address applies.
//
// It never fails for want of Redis.
func (l *Limiter) Take(ctx context.Context, account, address string) (*Pass, error) {
	a := l.attempt(account, address)
	if len(a.limits) == 0 {
		return &Pass{limiter: l, names: a.names, left: l.cfg.Timeout}, nil
	}
	decided, took, err := l.ask(ctx, a)
	if err != nil {
		decided = l.local.take(a, l.cfg.Now())
	}
	if decided.refused != "" {
		return nil, &LimitedError{Limit: decided.refused, RetryAfter: max(decided.wait, time.Millisecond)}
	}
	return &Pass{
		limiter: l, names: a.names, taken: a.refundable(decided.known), inMemory: err != nil, left: l.cfg.Timeout - took,
	}, nil
}

// limit is one limit of an attempt.
type limit struct {
	kind  Kind
	key   string
	rate  Rate
	spare bool // known addresses
}

// attempt is what is asked at once.
type attempt struct {
	names
	limits []limit
}

// decision is the answer.
type decision struct {
	refused Kind // empty: nothing refused
	wait    time.Duration
	known   bool
}

func (l *Limiter) attempt(account, address string) attempt {
	a := attempt{names: keysOf(account, address)}
	all := []limit{{ByAddress, a.address, l.cfg.Address, false}}
	if account != "" {
		all = append(all, limit{ByAccount, a.account, l.cfg.Account, true}, limit{ByBoth, a.both, l.cfg.Both, false})
	}
	for _, one := range all {
		if one.rate != (Rate{}) {
			a.limits = append(a.limits, one)
		}
	}
	return a
}

// refundable are the limits that a success gives back to.
func (a attempt) refundable(known bool) []limit {
	var back []limit
	for _, one := range a.limits {
		if one.kind != ByAddress && (!one.spare || !known) {
			back = append(back, one)
		}
	}
	return back
}

// ask has Redis decide, and says how long that took.
func (l *Limiter) ask(ctx context.Context, a attempt) (decision, time.Duration, error) {
	keys := []string{a.knownKey()}
	args := []any{a.member, int64(knownFor.Seconds())}
	for _, one := range a.limits {
		keys = append(keys, one.key)
		args = append(args, one.rate.Every.Microseconds(), one.rate.Burst, flag(one.spare))
	}
	answer, took, err := l.run(ctx, l.cfg.Timeout, takeScript, keys, args)
	if err != nil {
		return decision{}, took, err
	}
	d := decision{wait: time.Duration(answer[1]) * time.Microsecond, known: answer[2] == 1}
	if n := answer[0]; n > 0 {
		d.refused = a.limits[n-1].kind
	}
	return d, took, nil
}

// knownKey is a key of the right hash tag also where there is no account.
func (n names) knownKey() string {
	if n.known == "" {
		return prefix + "known:"
	}
	return n.known
}

func flag(set bool) int {
	if set {
		return 1
	}
	return 0
}

// run runs a script within a time, unless Redis has just failed, and returns
// how long Redis took. A client that leaves meanwhile does not stop it: its
// attempt counts.
func (l *Limiter) run(
	ctx context.Context, within time.Duration, script *redis.Script, keys []string, args []any,
) (answer []int64, took time.Duration, err error) {
	if l.cfg.Redis == nil {
		return nil, 0, errNoRedis
	}
	l.asking <- struct{}{} // held for no longer than the time limit
	defer func() { <-l.asking }()
	var raw any
	began := time.Now()
	err = l.breaker.Do(context.WithoutCancel(ctx), within, func(ctx context.Context) (err error) {
		raw, err = script.Run(ctx, l.cfg.Redis, keys, args...).Result()
		return err
	})
	took = time.Since(began)
	if err != nil {
		return nil, took, fmt.Errorf("limit: %w", err)
	}
	answer, err = numbers(raw)
	return answer, took, err
}

// Pass is an attempt that was let through.
type Pass struct {
	limiter  *Limiter
	names    names
	taken    []limit
	inMemory bool
	left     time.Duration // of the time for Redis
}

// Succeeded gives back what the attempt took from the limits on failures, and
// remembers its address as one of the owner's.
func (p *Pass) Succeeded(ctx context.Context) {
	if p.limiter.cfg.Account == (Rate{}) {
		p.settle(ctx, "") // there is nothing to spare the owner
		return
	}
	p.limiter.local.remember(p.names, p.limiter.cfg.Now())
	p.settle(ctx, p.names.member)
}

// Remember notes an address as one of the owner's, where the account was created.
func (l *Limiter) Remember(ctx context.Context, account, address string) {
	(&Pass{limiter: l, names: keysOf(account, address), left: l.cfg.Timeout}).Succeeded(ctx)
}

// Undecided gives back what the attempt took, for one that neither succeeded
// nor failed.
func (p *Pass) Undecided(ctx context.Context) { p.settle(ctx, "") }

func (p *Pass) settle(ctx context.Context, member string) {
	if p.names.known == "" {
		return
	}
	if p.inMemory {
		p.limiter.local.giveBack(p.taken, p.limiter.cfg.Now())
		p.taken = nil
	}
	if len(p.taken) == 0 && member == "" || p.left <= 0 {
		return
	}
	keys := []string{p.names.known}
	args := []any{member, int64(knownFor.Seconds()), knownMost}
	for _, one := range p.taken {
		keys = append(keys, one.key)
		args = append(args, one.rate.Every.Microseconds())
	}
	// Without Redis the refund is lost, and the owner waits longer.
	_, _, _ = p.limiter.run(ctx, p.left, settleScript, keys, args)
}
