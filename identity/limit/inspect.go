package limit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/unavailable"
)

// State is the state of one limit for an account.
type State struct {
	Limit   Kind
	Address string        // empty for the limit by account
	Left    int           // attempts that are let through at once
	Burst   int           // of the limit
	Wait    time.Duration // until the next attempt is let through; zero: at once
	Known   bool          // a login from this address has succeeded recently: the limit by account does not apply
}

// Inspect returns the state of an account's limits: of the limit by account, and
// for each address of the limit by address and the one by both. A limit from which
// nothing was taken is left out, and addresses of one network count as one. It fails with an *unavailable.Error.
func Inspect(ctx context.Context, client redis.UniversalClient, account string, addresses []string) ([]State, error) {
	now, err := client.Time(ctx).Result()
	if err != nil {
		return nil, unavailable.New("redis", "read limits", err)
	}
	var all []State
	look := func(s State, key string) error {
		held, err := client.Get(ctx, key).Result()
		if errors.Is(err, redis.Nil) {
			return nil
		}
		if err != nil {
			return unavailable.New("redis", "read limits", err)
		}
		if err := s.fill(held, now); err != nil {
			return err
		}
		all = append(all, s)
		return nil
	}
	if err := look(State{Limit: ByAccount}, keysOf(account, "").account); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, address := range addresses {
		network := Network(address)
		if seen[network] {
			continue
		}
		seen[network] = true
		n := keysOf(account, address)
		known, err := isKnown(ctx, client, n, now)
		if err != nil {
			return nil, err
		}
		if err := look(State{Limit: ByBoth, Address: network, Known: known}, n.both); err != nil {
			return nil, err
		}
		if err := look(State{Limit: ByAddress, Address: network, Known: known}, n.address); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Forget removes what is kept of an account by its name alone: its limit, and from
// which addresses it was used of late. What is kept of its addresses expires. It
// fails with an *unavailable.Error.
func Forget(ctx context.Context, client redis.UniversalClient, account string) error {
	n := keysOf(account, "")
	if err := client.Del(ctx, n.account, n.known).Err(); err != nil {
		return unavailable.New("redis", "remove limits", err)
	}
	return nil
}

func isKnown(ctx context.Context, client redis.UniversalClient, n names, now time.Time) (bool, error) {
	seen, err := client.ZScore(ctx, n.known, n.member).Result()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, unavailable.New("redis", "read limits", err)
	}
	ago := now.Sub(time.Unix(int64(seen), 0)) // as take.lua judges it
	return ago < knownFor && ago > -24*time.Hour, nil
}

// fill reads what take.lua has written: free:every:burst, times in
// microseconds.
func (s *State) fill(held string, now time.Time) error {
	var n [3]int64
	parts := strings.Split(held, ":")
	if len(parts) != len(n) {
		return fmt.Errorf("limit by %s: stored value has another shape", s.Limit)
	}
	for i, part := range parts {
		v, err := strconv.ParseInt(part, 10, 64)
		if err != nil || v < 0 || i == 1 && v == 0 {
			return fmt.Errorf("limit by %s: stored value has another shape", s.Limit)
		}
		n[i] = v
	}
	every := n[1]
	debt := min(max(n[0]-now.UnixMicro(), 0), every*n[2]) // more: the clock was set back
	s.Burst = int(n[2])
	s.Left = max(s.Burst-int((debt+every-1)/every), 0)
	s.Wait = max(time.Duration(debt+every-every*n[2])*time.Microsecond, 0)
	return nil
}
