// Package rehearse plays launch day: users come at a rate or all at once, log in
// as clients do, and the package measures what they see.
//
// The load is open: a user comes when they are due, however slow the answers to
// the others are, and a login's time counts from then. [Register] makes the
// accounts, [Load] lets them log in, and [NewReport] says what was measured, what
// of it breaks a promise, and what it means.
package rehearse

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
)

// MaxUsers is the most users of a rehearsal: as many as a campaign has places.
const MaxUsers = campaign.MaxPlaces

// User is somebody who logs in.
type User struct {
	Name, Password string
	ID             string
	Address        netip.Addr // which the gateway is told that they come from; the zero Addr: nothing is told
}

func (u User) credentials() []byte {
	text, _ := json.Marshal(map[string]string{"username": u.Name, "password": u.Password}) // cannot fail: they are strings
	return text
}

// Rate is how many users come in a second; 0: all come at one moment.
type Rate float64

// ParseRate reads a number and a unit, such as 200/s, 12000/m or 90/h.
func ParseRate(text string) (Rate, error) {
	number, unit, _ := strings.Cut(text, "/")
	n, err := strconv.ParseUint(number, 10, 32)
	per := map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	if err != nil || n == 0 || per == 0 {
		return 0, fmt.Errorf("%q is not a rate: write a number and s, m or h, such as 200/s", text)
	}
	return Rate(float64(n) / per), nil
}

// After is when a user is due, counted from the first; the first is user 0.
func (r Rate) After(user int) time.Duration {
	if r == 0 {
		return 0
	}
	return time.Duration(math.Round(float64(user) / float64(r) * float64(time.Second)))
}

// Visit is one user's launch day.
type Visit struct {
	Due      time.Time       // when the user was to come
	Sent     time.Time       // when the first request was sent; zero: none was
	Answered time.Time       // when the last answer came; zero: none did
	Status   campaign.Status // which that answer told; "": it was no login
	Rank     int64           // with campaign.StatusGranted
	// Problem is why there was no login: the last answer, or that none came.
	Problem string
}

// Answer is one response to a login.
type Answer struct {
	At     time.Time     // when it had come
	Took   time.Duration // since the request was due, so with the wait for a connection
	Status int           // of HTTP; 0: no answer came
}

// Load lets users log in.
type Load struct {
	Client   *Client
	Users    []User
	Rate     Rate
	Progress func(done int) // called as users are done; it may be called from several goroutines at once
}

// Seen is what the users of a Load saw.
type Seen struct {
	Visits  []Visit  // one for each user, in their order
	Answers []Answer // in the order in which they came
	Open    int      // the most requests that were under way at once
}

// Run lets every user come, and returns when all are done or ctx has ended. What
// was seen until then is complete.
func (l *Load) Run(ctx context.Context) Seen {
	var (
		users    sync.WaitGroup
		mu       sync.Mutex
		seen     = Seen{Visits: make([]Visit, len(l.Users))}
		done     atomic.Int64
		first    = time.Now()
		timer    = time.NewTimer(0)
		answered = func(a Answer) {
			mu.Lock()
			defer mu.Unlock()
			seen.Answers = append(seen.Answers, a)
		}
	)
	defer timer.Stop()
	l.Client.most.Store(0) // before, others were open
	for i := range l.Users {
		v := &seen.Visits[i]
		v.Due = first.Add(l.Rate.After(i))
		timer.Reset(time.Until(v.Due))
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			v.Problem = "had not come yet"
			continue
		}
		users.Go(func() {
			v.Sent = time.Now()
			l.visit(ctx, l.Users[i], v, answered)
			l.Progress(int(done.Add(1)))
		})
	}
	users.Wait()
	seen.Open = int(l.Client.most.Load())
	return seen
}

// visit logs a user in and notes how that ended.
func (l *Load) visit(ctx context.Context, u User, v *Visit, answered func(Answer)) {
	final, err := l.Client.ask(ctx, "/login", u, v.Due, answered)
	if final.status != 0 {
		v.Answered = final.at
	}
	switch {
	case err != nil:
		v.Problem = err.Error()
	case final.status != 200:
		v.Problem = fmt.Sprintf("answered %d", final.status)
	default:
		v.Status, v.Rank = final.told, final.rank
	}
}

// AddressIn is the address of the nth user in a network. Addresses are used
// again when there are fewer than users. Of IPv6 every user gets a /64, which
// the limits count as one client, if the network has more than one.
func AddressIn(network netip.Prefix, n int) netip.Addr {
	first, step := network.Masked().Addr(), 0
	if network.Addr().Is6() && network.Bits() < 64 {
		step = 64
	}
	bytes := first.AsSlice()
	free := min(len(bytes)*8-step-network.Bits(), 62)
	left := uint64(n) % (uint64(1) << free) //nolint:gosec // n is a user's number
	for i := len(bytes) - 1 - step/8; left > 0; i-- {
		bytes[i] |= byte(left)
		left >>= 8
	}
	at, _ := netip.AddrFromSlice(bytes) // cannot fail: it is as long as an address is
	return at
}
