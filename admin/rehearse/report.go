package rehearse

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
)

// Outcome is what the campaign's log says when the rehearsal is over.
type Outcome struct {
	Campaign int64
	Name     string
	Slots    int64
	Granted  int64
	Hash     string           // of the last entry; "": the log could not be read
	Position map[string]int64 // of everybody who has a place, by user id
}

// System is what the operator says of the system that was rehearsed on; zero: it
// is not known.
type System struct {
	Replicas int // of the identity service
	Cores    int // that each of them has
}

// Report is what a rehearsal measured. Times are in seconds.
type Report struct {
	Campaign  int64     `json:"campaign,string"`
	Name      string    `json:"name"`
	Gateway   string    `json:"gateway"`
	At        time.Time `json:"at"` // when the first user came
	Users     int       `json:"users"`
	Rate      float64   `json:"rate"` // users a second; 0: all came at one moment
	Addresses string    `json:"addresses"`

	Done     int            `json:"logins"` // users whose login was answered with 200
	Told     map[string]int `json:"told"`   // users by what they were told in the end, or why they were not
	Lasted   float64        `json:"lasted"`
	Login    Spread         `json:"login"` // of the answers of 200
	User     Spread         `json:"user"`  // from when a user was due until they were logged in, waits included
	Limited  int            `json:"status_429"`
	Busy     int            `json:"status_503"`
	Failed   int            `json:"failed"` // other answers than 200, 429 and 503, and none
	Open     int            `json:"open_requests"`
	Slots    int64          `json:"slots"`
	Granted  int64          `json:"granted"`
	FullIn   float64        `json:"full_in"` // until the last slot was taken and its user told so; 0: never
	Hash     string         `json:"hash"`
	First    []Place        `json:"first"` // the users who were first
	Checks   []Check        `json:"checks"`
	Sizing   Sizing         `json:"sizing"`
	Meaning  []string       `json:"meaning"`
	OverTime []Bin          `json:"over_time"`

	Registered Registered `json:"-"`
	width      time.Duration
	grants     []time.Time // when users were told of a slot
}

// Spread is how long things took, in seconds.
type Spread struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Place is a user's place in the campaign.
type Place struct {
	Position int64   `json:"position"`
	Username string  `json:"username"`
	Came     float64 `json:"came"` // seconds after the first user was due
	Told     float64 `json:"told"` // the same; 0: the user was not told of the place
}

// Check is something that must hold.
type Check struct {
	Name   string `json:"check"`
	OK     bool   `json:"ok"`
	Breaks bool   `json:"breaks"` // a promise, when it is not ok; else only the measurement is spoilt
	Detail string `json:"detail"`
}

// Bin is what happened within a span of time, counted a second.
type Bin struct {
	Second  float64 `json:"second"` // when it begins
	Due     float64 `json:"due"`    // users who came
	Logins  float64 `json:"logins"` // answers of 200
	Limited float64 `json:"status_429"`
	Busy    float64 `json:"status_503"`
	Failed  float64 `json:"failed"`
	P50     float64 `json:"p50"` // of the answers of 200, in seconds; 0: there were none
	P99     float64 `json:"p99"`
	Granted int     `json:"granted"` // users with a grant who were told by the end of it, in all
}

// Play is what was played, for NewReport.
type Play struct {
	Gateway    string
	Addresses  string // the network that the users came from; "": this machine's address
	SeenFrom   string // the address that identity saw one of the users come from; "": not known
	Users      []User
	Rate       Rate
	Seen       Seen
	Registered Registered
	Outcome    Outcome
	System     System
}

// NewReport puts together what was measured, and judges it.
func NewReport(p Play) Report {
	r := Report{
		Campaign: p.Outcome.Campaign, Name: p.Outcome.Name, Gateway: p.Gateway, At: p.Seen.Visits[0].Due, Users: len(p.Users),
		Rate: float64(p.Rate), Addresses: p.Addresses, Told: map[string]int{}, Open: p.Seen.Open,
		Slots: p.Outcome.Slots, Granted: p.Outcome.Granted, Hash: p.Outcome.Hash, Registered: p.Registered,
	}
	var logins, users []time.Duration
	end := r.At
	for _, a := range p.Seen.Answers {
		end = later(end, a.At)
		switch a.Status {
		case http.StatusOK:
			logins = append(logins, a.Took)
		case http.StatusTooManyRequests:
			r.Limited++
		case http.StatusServiceUnavailable:
			r.Busy++
		default:
			r.Failed++
		}
	}
	for _, v := range p.Seen.Visits {
		r.Told[cmp.Or(string(v.Status), v.Problem)]++
		if v.Status != "" {
			r.Done++
			users = append(users, v.Answered.Sub(v.Due))
		}
	}
	r.Login, r.User, r.Lasted = spread(logins), spread(users), seconds(end.Sub(r.At))
	r.OverTime, r.width = overTime(r.At, end, p)
	r.grants, r.First = grants(p), first(p)
	if len(r.grants) >= int(r.Slots) && r.Slots > 0 {
		r.FullIn = seconds(r.grants[len(r.grants)-1].Sub(r.At))
	}
	r.Checks = append(judge(p), measured(p)...)
	r.Sizing = size(r, p.System)
	r.Meaning = meaning(r, p)
	return r
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// spread are the percentiles by the nearest rank.
func spread(took []time.Duration) Spread {
	if len(took) == 0 {
		return Spread{}
	}
	slices.Sort(took)
	at := func(p float64) float64 {
		return seconds(took[max(0, int(math.Ceil(p*float64(len(took))))-1)])
	}
	return Spread{at(0.5), at(0.9), at(0.99), at(1)}
}

// seconds is a time in seconds, to the millisecond.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// mostBins is how many spans of time are told apart at most.
const mostBins = 300

// overTime counts what happened, in spans of whole seconds.
func overTime(from, until time.Time, p Play) ([]Bin, time.Duration) {
	width := time.Second
	for _, w := range []time.Duration{2, 5, 10, 30, 60, 300} {
		if until.Sub(from) > mostBins*width {
			width = w * time.Second
		}
	}
	bins := make([]Bin, until.Sub(from)/width+1)
	took := make([][]time.Duration, len(bins))
	each := 1 / width.Seconds()
	in := func(at time.Time) int { return min(max(0, int(at.Sub(from)/width)), len(bins)-1) }
	for i := range bins {
		bins[i].Second = float64(i) * width.Seconds()
	}
	for _, a := range p.Seen.Answers {
		switch i := in(a.At); a.Status {
		case http.StatusOK:
			bins[i].Logins += each
			took[i] = append(took[i], a.Took)
		case http.StatusTooManyRequests:
			bins[i].Limited += each
		case http.StatusServiceUnavailable:
			bins[i].Busy += each
		default:
			bins[i].Failed += each
		}
	}
	for _, v := range p.Seen.Visits {
		if !v.Sent.IsZero() {
			bins[in(v.Due)].Due += each
		}
	}
	for _, at := range grants(p) {
		bins[in(at)].Granted++
	}
	for i := range bins {
		s := spread(took[i])
		bins[i].P50, bins[i].P99 = s.P50, s.P99
		for _, n := range []*float64{&bins[i].Due, &bins[i].Logins, &bins[i].Limited, &bins[i].Busy, &bins[i].Failed} {
			*n = math.Round(*n*100) / 100
		}
		if i > 0 {
			bins[i].Granted += bins[i-1].Granted
		}
	}
	return bins, width
}

// position is a user's position in the log; 0: none.
func (p Play) position(user int) int64 { return p.Outcome.Position[p.Users[user].ID] }

// granted reports whether the log grants a user one of the slots.
func (p Play) granted(user int) bool {
	position := p.position(user)
	return position > 0 && position <= p.Outcome.Slots
}

// placed reports whether a user was told of a place.
func placed(v Visit) bool {
	return v.Status == campaign.StatusGranted || v.Status == campaign.StatusPending || v.Status == campaign.StatusFull
}

// grants are the times at which users were told of a slot, in order.
func grants(p Play) []time.Time {
	var all []time.Time
	for i, v := range p.Seen.Visits {
		if p.granted(i) && placed(v) {
			all = append(all, v.Answered)
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	return all
}

// mostFirst is how many of the first users a report lists.
const mostFirst = 20

// first lists the users who were first, by their positions.
func first(p Play) []Place {
	all := []Place{}
	for i, v := range p.Seen.Visits {
		position := p.position(i)
		if position == 0 || position > mostFirst {
			continue
		}
		place := Place{Position: position, Username: p.Users[i].Name, Came: seconds(v.Sent.Sub(p.Seen.Visits[0].Due))}
		if placed(v) {
			place.Told = seconds(v.Answered.Sub(p.Seen.Visits[0].Due))
		}
		all = append(all, place)
	}
	slices.SortFunc(all, func(a, b Place) int { return cmp.Compare(a.Position, b.Position) })
	return all
}

// judge checks what is promised against the log.
func judge(p Play) []Check {
	var checks []Check
	add := func(name string, ok bool, good, bad string, args ...any) {
		detail := good
		if !ok {
			detail = fmt.Sprintf(bad, args...)
		}
		checks = append(checks, Check{Name: name, OK: ok, Breaks: true, Detail: detail})
	}
	if p.Outcome.Hash == "" {
		return []Check{{Name: "log", Detail: "the campaign's log could not be read: who was first was not checked"}}
	}
	places, slots := int64(len(p.Outcome.Position)), p.Outcome.Slots
	add("slots", p.Outcome.Granted == min(slots, places),
		fmt.Sprintf("%d of %d slots were granted; users with a place: %d", p.Outcome.Granted, slots, places),
		"%d slots were granted, where it should be %d; users with a place: %d", p.Outcome.Granted, min(slots, places), places)
	overtaken, example := overtaken(p)
	add("order", overtaken == 0, "who was answered before another came has the smaller position",
		"%d users have a smaller position than somebody who was answered before they came; %s", overtaken, example)
	wrong, first := 0, ""
	for i, v := range p.Seen.Visits {
		position := p.position(i)
		agrees := true
		switch v.Status {
		case campaign.StatusGranted:
			agrees = v.Rank == position && position <= slots
		case campaign.StatusPending:
			agrees = position > 0
		case campaign.StatusFull:
			agrees = position == 0 || position > slots
		}
		if !agrees {
			if wrong++; first == "" {
				first = fmt.Sprintf("%s was told %s with rank %d and has position %d", p.Users[i].Name, v.Status, v.Rank, position)
			}
		}
	}
	add("answers", wrong == 0, "every user was told what the log says", "%d users were told something else than the log says: %s", wrong, first)
	return checks
}

// overtaken counts the users with a smaller position than somebody who was told
// of a place before they came.
func overtaken(p Play) (n int, example string) {
	var came, told []int // users, by when they came and by when they were told
	for i, v := range p.Seen.Visits {
		if p.position(i) == 0 {
			continue
		}
		came = append(came, i)
		if placed(v) {
			told = append(told, i)
		}
	}
	visits := p.Seen.Visits
	slices.SortFunc(came, func(a, b int) int { return visits[a].Sent.Compare(visits[b].Sent) })
	slices.SortFunc(told, func(a, b int) int { return visits[a].Answered.Compare(visits[b].Answered) })
	last, at := -1, 0 // who of those told before has the largest position
	for _, user := range came {
		for ; at < len(told) && visits[told[at]].Answered.Before(visits[user].Sent); at++ {
			if last < 0 || p.position(told[at]) > p.position(last) {
				last = told[at]
			}
		}
		if last >= 0 && p.position(last) > p.position(user) {
			if n++; example == "" {
				example = fmt.Sprintf("%s came after %s was answered, and has position %d before %d",
					p.Users[user].Name, p.Users[last].Name, p.position(user), p.position(last))
			}
		}
	}
	return n, example
}

// lateness is how much later than due a user may come before the measurement is
// no longer of the rate that was asked for.
const lateness = 500 * time.Millisecond

// measured checks whether the numbers are of what was asked for.
func measured(p Play) []Check {
	ours := map[string]bool{}
	for _, u := range p.Users {
		ours[u.ID] = true
	}
	strangers := 0
	for id := range p.Outcome.Position {
		if !ours[id] {
			strangers++
		}
	}
	var latest time.Duration
	unfinished := 0
	for _, v := range p.Seen.Visits {
		if !v.Sent.IsZero() {
			latest = max(latest, v.Sent.Sub(v.Due))
		}
		if v.Status == "" {
			unfinished++
		}
	}
	check := func(name string, ok bool, good, bad string, args ...any) Check {
		if ok {
			return Check{Name: name, OK: true, Detail: good}
		}
		return Check{Name: name, Detail: fmt.Sprintf(bad, args...)}
	}
	limited := 0
	for _, a := range p.Seen.Answers {
		if a.Status == http.StatusTooManyRequests {
			limited++
		}
	}
	return []Check{
		check("limits", limited == 0, "no limit by address held a user up",
			"%d answers were 429, of a limit by address: a launch, with its many addresses, goes faster", limited),
		check("users", unfinished == 0, "every user was logged in", "%d of %d users were not logged in", unfinished, len(p.Users)),
		check("strangers", strangers == 0, "only the rehearsal's users took places",
			"%d places went to others: the system is in use", strangers),
		check("rate", latest <= lateness, "this machine sent every login when it was due",
			"this machine sent a login up to %s late: rehearse from a faster one, or from several", latest.Round(time.Millisecond)),
		check("connections", p.Seen.Open <= MaxConnections, fmt.Sprintf("%d requests were under way at most", p.Seen.Open),
			"%d requests were under way, of which %d were sent at once: the others waited on this machine", p.Seen.Open, MaxConnections),
	}
}

// Broken reports whether a promise was broken.
func (r Report) Broken() bool {
	return slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Breaks && !c.OK })
}
