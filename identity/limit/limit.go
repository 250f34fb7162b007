// Package limit slows down password guessing: it limits attempts by account, by
// client address, and by both together.
//
// # Rates
//
// Each limit is a [Rate] enforced with the generic cell rate algorithm (GCRA, ITU-T
// I.371). Redis holds one timestamp per key, shared by all replicas. A key expires
// when its rate has given all attempts back. Names and addresses are stored only as
// hashes.
//
// # What counts
//
// The limit by address counts every attempt. The other two count failures: an
// attempt is refunded when it succeeds, or when it could not be decided.
//
// # The owner
//
// An account under attack stays open to its owner. The limit by account does not
// apply at an address where a login has succeeded recently or where the account was
// created; there only the limit by account and address does. From other addresses
// the owner competes with the attacker for the attempts that the rate gives back.
//
// # Without Redis
//
// While Redis does not answer, each process keeps the same limits for itself,
// in memory of a fixed size. A Redis that is slow counts as one that is down.
//
// # Clocks
//
// A clock that is set back finds times that lie further ahead than a rate can
// put them. They count as a limit that is used up and no more, so that no wait
// is longer than the rate asks for.
package limit

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Kind names a limit.
type Kind string

// The limits, in the order in which they are looked at.
const (
	ByAddress Kind = "address"
	ByAccount Kind = "account"
	ByBoth    Kind = "account_and_address"
)

// Rate allows Burst at once and one more after every Every. The zero Rate
// allows everything.
type Rate struct {
	Burst int
	Every time.Duration
}

// debt is how far ahead the time of a key is when the burst is used up.
func (r Rate) debt() time.Duration { return time.Duration(r.Burst) * r.Every }

// units are the periods of ParseRate.
var units = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

var errRate = errors.New("must be a burst and a rate, such as 100,60/h (units s, m, h, d), or off")

// The bounds of a Rate keep its debt, burst times Every, below a year.
const (
	maxBurst = 1_000_000
	maxDebt  = 365 * 24 * time.Hour
)

// ParseRate reads BURST,COUNT/UNIT, such as 100,60/h, or off. Its errors hold
// nothing of the text.
func ParseRate(text string) (Rate, error) {
	if text == "off" {
		return Rate{}, nil
	}
	burstText, rate, ok1 := strings.Cut(text, ",")
	countText, unit, ok2 := strings.Cut(rate, "/")
	burst, err1 := strconv.Atoi(burstText)
	count, err2 := strconv.Atoi(countText)
	period := units[unit]
	if !ok1 || !ok2 || err1 != nil || err2 != nil || burst < 1 || burst > maxBurst || count < 1 || period == 0 {
		return Rate{}, errRate
	}
	r := Rate{Burst: burst, Every: (period / time.Duration(count)).Truncate(time.Microsecond)}
	if r.Every <= 0 || time.Duration(r.Burst) > maxDebt/r.Every {
		return Rate{}, errRate
	}
	return r, nil
}

// ErrLimited is what every *LimitedError is, for errors.Is.
var ErrLimited = errors.New("too many attempts")

// LimitedError says which limit refused an attempt, and when the next may
// succeed.
type LimitedError struct {
	Limit      Kind
	RetryAfter time.Duration // more than zero
}

func (e *LimitedError) Error() string {
	return fmt.Sprintf("%v by %s, retry after %s", ErrLimited, e.Limit, e.RetryAfter)
}

// Unwrap returns ErrLimited.
func (e *LimitedError) Unwrap() error { return ErrLimited }

// prefix of the keys: one hash tag, so that all of them are on one node of a
// Redis Cluster.
const prefix = "earlybird:{earlybird}:limit:"

func key(kind, name string) string { return prefix + kind + ":" + digest(name) }

// digest is the hash of a name, for use in keys.
func digest(name string) string {
	sum := sha256.Sum256([]byte(prefix + name))
	return base64.RawURLEncoding.EncodeToString(sum[:15])
}

// UnknownNetwork is what Network says of what is no address.
const UnknownNetwork = "unknown"

// Network is what an address is counted as: itself, for IPv6 its /64, which is
// what one customer has (RFC 6177), and UnknownNetwork for what is no address.
func Network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return UnknownNetwork
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	return netip.PrefixFrom(a, 64).Masked().String()
}

// names are the keys of an attempt.
type names struct {
	address, account, both, known string
	member                        string // of known
}

// keysOf returns the keys of an account, which may be empty, and an address.
func keysOf(account, address string) names {
	network := Network(address)
	n := names{address: key("address", network), member: digest(network)}
	if account != "" {
		n.account = key("account", account)
		n.both = key("both", account+"\x00"+network)
		n.known = key("known", account)
	}
	return n
}
