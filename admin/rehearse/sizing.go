package rehearse

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Sizing is what the numbers say about the size of the system.
type Sizing struct {
	// Wanted is how many logins a second the launch brings. When all come at one
	// moment: so many that all are answered within Queue.
	Wanted float64 `json:"wanted"`
	// Best is the most logins a second that were answered over a few seconds.
	Best float64 `json:"best"`
	// Saturated says that Best is all that the system can do: clients waited.
	Saturated bool `json:"saturated"`
	// Times is how many times the present cores are needed; 0: not known, because the
	// system was not saturated and so has enough.
	Times float64 `json:"times"`
	// Cores and Replicas are what is needed, in all; 0: not known, because it was not
	// said what there is.
	Cores    int `json:"cores"`
	Replicas int `json:"replicas"`
}

const (
	// Queue is how long identity lets a login wait for its hash before it answers
	// with 503.
	Queue = 5 * time.Second
	// reserve is what is added to the cores that are needed: identity does more than
	// to hash, and load is never spread evenly.
	reserve = 1.25
	// sustained is over how many seconds Best is taken.
	sustained = 5
	// waits is from which 99th percentile on logins are taken to wait for each other.
	waits = time.Second
)

// size works out what the rate needs. Hashing a password is nearly all that a
// login costs, so that logins a second grow with the cores of identity.
func size(r Report, s System) Sizing {
	z := Sizing{Wanted: r.Rate}
	if r.Rate == 0 {
		z.Wanted = float64(r.Users) / Queue.Seconds()
	}
	whole := max(1, len(r.OverTime)-1) // the last one is cut off
	span := min(whole, max(1, int(sustained/r.width.Seconds())))
	for i := range whole - span + 1 {
		logins := 0.0
		for _, b := range r.OverTime[i : i+span] {
			logins += b.Logins
		}
		z.Best = max(z.Best, math.Round(10*logins/float64(span))/10)
	}
	z.Saturated = r.Busy > 0 || r.Login.P99 >= waits.Seconds()
	if !z.Saturated || z.Best == 0 {
		return z
	}
	z.Times = math.Ceil(z.Wanted/z.Best*reserve*10) / 10
	if s.Cores > 0 && s.Replicas > 0 {
		have := float64(s.Cores * s.Replicas)
		z.Cores = int(math.Ceil(have * z.Wanted / z.Best * reserve))
		z.Replicas = int(math.Ceil(float64(z.Cores)/float64(s.Cores))) + 1
	}
	return z
}

// meaning puts the numbers into sentences.
func meaning(r Report, p Play) []string {
	z := r.Sizing
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	wanted := fmt.Sprintf("%.0f logins a second", z.Wanted)
	if r.Rate == 0 {
		wanted = fmt.Sprintf("%d logins at one moment, all answered within %s,", r.Users, Queue)
	}
	switch {
	case r.Done == 0:
		say("Nobody was logged in, so that there is nothing to say about the size.")
	case !z.Saturated:
		say("The system took %s: it answered up to %.0f a second, 99 %% of them within %s. Its limit was not reached.",
			wanted, z.Best, span(r.Login.P99))
	default:
		say("The system was at its limit with %.0f logins a second: 99 %% of the answers took up to %s, and %d were 503, come again later.",
			z.Best, span(r.Login.P99), r.Busy)
		need := fmt.Sprintf("%.1f times the cores that identity has now", z.Times)
		if z.Cores > 0 {
			need = fmt.Sprintf("%d cores of identity, which are %d replicas like those of now and one in reserve", z.Cores, z.Replicas-1)
		}
		if z.Times <= 1 {
			need = "no more cores than identity has now"
		}
		say("%s need %s. A login costs one password hash, and so 10 to 20 ms of one core; a quarter is added for everything else.", wanted, need)
	}
	if reg := p.Registered; reg.Accounts > 0 && reg.Limited == 0 && reg.Took > 0 {
		say("%d accounts were registered at %.0f a second, each for one hash as well.", reg.Accounts, float64(reg.Accounts)/reg.Took.Seconds())
	}
	if r.Limited > 0 {
		say("%d answers were 429: the gateway and identity let one address make 600 requests a minute. %s", r.Limited, addressed(p))
	} else if p.Addresses != "" && p.SeenFrom != "" && !cameFrom(p) {
		say("%s", addressed(p))
	}
	if r.FullIn > 0 {
		say("All %d slots were taken, and their users told so, after %s.", r.Slots, span(r.FullIn))
	}
	return all
}

// addressed says what the limits by address took for the users' addresses.
func addressed(p Play) string {
	switch {
	case p.Addresses == "":
		return "All users came from this machine's address, which no launch does: see --addresses."
	case p.SeenFrom != "" && !cameFrom(p):
		return fmt.Sprintf("identity saw the users come from %s and not from %s: nobody trusts the X-Forwarded-For of this machine. See trusted_ips in kong.conf and identity's --trusted-proxies.",
			p.SeenFrom, p.Addresses)
	default:
		return fmt.Sprintf("identity saw the users come from %s; see that the gateway trusts this machine as well (trusted_ips in kong.conf).", p.Addresses)
	}
}

// cameFrom reports whether identity saw one of the addresses that were sent.
func cameFrom(p Play) bool {
	return slices.ContainsFunc(p.Users, func(u User) bool { return u.Address.String() == p.SeenFrom })
}

// span writes seconds for a person.
func span(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond).String()
}
