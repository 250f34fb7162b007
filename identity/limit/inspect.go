package limit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/outage"
)

// State is the state of one limit for an account.
type State struct {
	Limit   Kind
	Address string        // empty for the limit by account
	Left    int           // attempts that are let through at once
	Burst   int           // of the limit
	Wait    time.Duration // until the next attempt is let through; zero: at once
	Known   bool          // a login from this address has succeeded of late: the limit by account does not apply
}

// Inspect returns the limits of an account that have been drawn on: the one by
// account, and for each address the one by address and the one by both. Addresses of
// one network count as one. It fails with an *outage.Error.
func Inspect(ctx context.Context, client redis.UniversalClient, account string, addresses []string) ([]State, error) {
	now, err := client.Time(ctx).Result()
	if err != nil {
		return nil, outage.New("redis", "read limits", err)
	}
	var all []State
	look := func(s State, key string) error {
		held, err := client.Get(ctx, key).Result()
		if errors.Is(err, redis.Nil) {
			return nil
		}
		if err != nil {
			return outage.New("redis", "read limits", err)
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

func isKnown(ctx context.Context, client redis.UniversalClient, n names, now time.Time) (bool, error) {
	seen, err := client.ZScore(ctx, n.known, n.member).Result()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, outage.New("redis", "read limits", err)
	}
	return time.Unix(int64(seen), 0).Add(knownFor).After(now), nil
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
	debt, every := max(n[0]-now.UnixMicro(), 0), n[1]
	s.Burst = int(n[2])
	s.Left = max(s.Burst-int((debt+every-1)/every), 0)
	s.Wait = max(time.Duration(debt+every-every*n[2])*time.Microsecond, 0)
	return nil
}
