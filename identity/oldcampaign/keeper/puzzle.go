package keeper

import (
	"cmp"
	"slices"

	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// source says where an arrival was read.
type source int

const (
	stored      source = iota // in the ledger
	announced                 // in the outbox, on its way to the ledger
	unannounced               // in Redis alone
)

// puzzle puts the order of first logins together from all that knows of it.
type puzzle struct {
	campaign  campaign.Campaign
	users     map[int64]string
	positions map[string]int64
	granted   map[string]bool // a grant is stored or announced
	known     map[string]bool // an arrival is stored or announced
	displaced []campaign.Place
}

func newPuzzle(c campaign.Campaign) *puzzle {
	return &puzzle{
		campaign: c, users: map[int64]string{}, positions: map[string]int64{}, granted: map[string]bool{}, known: map[string]bool{},
	}
}

// put adds a place. What came first stays: the ledger wins over Redis.
func (p *puzzle) put(user string, position int64, from source, granted bool) {
	if at, ok := p.positions[user]; ok {
		if at == position {
			p.note(user, from, granted)
		}
		return
	}
	if _, taken := p.users[position]; taken {
		if !slices.ContainsFunc(p.displaced, func(d campaign.Place) bool { return d.UserID == user }) {
			p.displaced = append(p.displaced, campaign.Place{UserID: user, Position: position})
		}
		return
	}
	p.seat(user, position)
	p.note(user, from, granted)
}

func (p *puzzle) seat(user string, position int64) {
	p.users[position], p.positions[user] = user, position
}

func (p *puzzle) note(user string, from source, granted bool) {
	if from == unannounced {
		return
	}
	p.known[user] = true
	if granted {
		p.granted[user] = true
	}
}

func (p *puzzle) last() int64 {
	var last int64
	for position := range p.users {
		last = max(last, position)
	}
	return last
}

// complete closes the holes: first with those whose place turned out to be
// another's, then with the expected logins in their order. While logins count
// it goes on behind the last, because the arrivals that Redis lost are among
// the expected. It returns how many were seated.
func (p *puzzle) complete(expected []campaign.Expected, counting bool) int {
	slices.SortStableFunc(p.displaced, func(a, b campaign.Place) int { return cmp.Compare(a.Position, b.Position) })
	var queue []string
	for _, d := range p.displaced {
		queue = append(queue, d.UserID)
	}
	for _, e := range expected {
		if e.CampaignID == p.campaign.ID && !slices.Contains(queue[:len(p.displaced)], e.UserID) {
			queue = append(queue, e.UserID)
		}
	}
	last, next, seated := p.last(), int64(1), 0
	for i, user := range queue {
		if _, ok := p.positions[user]; ok {
			continue
		}
		for p.users[next] != "" {
			next++
		}
		arrived := i < len(p.displaced)
		if next > last && !arrived && (!counting || next > p.campaign.Slots+p.campaign.Waitlist) {
			break
		}
		p.seat(user, next)
		seated++
	}
	return seated
}

func (p *puzzle) plan() campaign.Plan {
	plan := campaign.Plan{Campaign: p.campaign, Last: p.last()}
	for position, user := range p.users {
		plan.Places = append(plan.Places, campaign.Place{UserID: user, Position: position})
	}
	slices.SortFunc(plan.Places, func(a, b campaign.Place) int { return cmp.Compare(a.Position, b.Position) })
	for _, place := range plan.Places {
		switch {
		case !p.known[place.UserID]:
			plan.Arrived = append(plan.Arrived, place)
		case place.Position <= p.campaign.Slots && !p.granted[place.UserID]:
			plan.Granted = append(plan.Granted, place)
		}
	}
	return plan
}
