package command

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/limit"
)

// together is how close registrations are that are listed.
const together = time.Minute

// likeness is a group of grants that have something in common.
type likeness struct {
	kind   string // "address" or "registered"
	shared string // the address, or when the first of them was registered
	ranks  []int64
}

var suspectColumns = columns("kind shared grants rank user_id username registered_at")

// campaignSuspects lists the grants that a person may want to look at.
func campaignSuspects(c *cli.Context) error {
	f, err1 := format(c)
	id, err2 := which(c)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		fold, damage := s.read(c.Context, id)
		if fold == nil {
			return damage
		}
		noteRehearsal(c, fold)
		grants := winners(fold)
		users, err := s.usersOf(c.Context, grants)
		if err != nil {
			return err
		}
		found, err := s.fromOneAddress(c.Context, fold)
		if err != nil {
			return err
		}
		found = append(found, registeredTogether(grants, users)...)
		list := output.List(c.App.Writer, f, suspectColumns...)
		for _, l := range found {
			for _, rank := range l.ranks {
				g, _ := fold.Grant(rank)
				u := users[g.UserID]
				if err := list.Row(l.kind, l.shared, len(l.ranks), rank, g.UserID, u.Username, u.CreatedAt); err != nil {
					return err
				}
			}
		}
		if err := list.Close(); err != nil {
			return err
		}
		if f == output.Table {
			say(c.App.ErrWriter, "A hint for a person's eye, no verdict: an office or a mobile network may have one address.\n")
		}
		return damage
	})
}

func (s *stores) usersOf(ctx context.Context, grants []campaign.Grant) (map[string]account.User, error) {
	all := make(map[string]account.User, len(grants))
	for batch := range slices.Chunk(grants, namesAtOnce) {
		ids := make([]string, len(batch))
		for i, g := range batch {
			ids[i] = g.UserID
		}
		users, err := s.mongo.Users(ctx, ids)
		if err != nil {
			return nil, err
		}
		for id, u := range users {
			all[id] = u
		}
	}
	return all, nil
}

// fromOneAddress are the grants whose users logged in from one address while logins
// took places; of IPv6 a /64 counts as one. It keeps no login, only which grant came
// from where.
func (s *stores) fromOneAddress(ctx context.Context, fold *campaign.Fold) ([]likeness, error) {
	at, err := s.mongo.Now(ctx)
	if err != nil {
		return nil, err
	}
	ranks := map[string][]int64{}
	type pair struct {
		network string
		rank    int64
	}
	seen := map[pair]bool{}
	from, until := fold.Span(at)
	for l, err := range s.mongo.Logins(ctx, from, until) {
		if err != nil {
			return nil, err
		}
		g, granted := fold.Grant(fold.Position(l.UserID))
		network := limit.Network(l.Address)
		if !granted || network == limit.UnknownNetwork || seen[pair{network, g.Rank}] {
			continue
		}
		seen[pair{network, g.Rank}] = true
		ranks[network] = append(ranks[network], g.Rank)
	}
	var found []likeness
	for network, these := range ranks {
		if len(these) > 1 {
			slices.Sort(these)
			found = append(found, likeness{"address", network, these})
		}
	}
	return inOrder(found), nil
}

// registeredTogether are the grants of accounts that were registered within a minute
// of another's that holds one.
func registeredTogether(grants []campaign.Grant, users map[string]account.User) []likeness {
	grants = slices.DeleteFunc(slices.Clone(grants), func(g campaign.Grant) bool {
		_, known := users[g.UserID]
		return !known
	})
	registered := func(g campaign.Grant) time.Time { return users[g.UserID].CreatedAt }
	slices.SortFunc(grants, func(a, b campaign.Grant) int {
		return cmp.Or(registered(a).Compare(registered(b)), cmp.Compare(a.Rank, b.Rank))
	})
	var found []likeness
	for i, g := range grants {
		if i == 0 || registered(g).Sub(registered(grants[i-1])) > together {
			found = append(found, likeness{kind: "registered", shared: registered(g).UTC().Format(time.RFC3339)})
		}
		last := &found[len(found)-1]
		last.ranks = append(last.ranks, g.Rank)
	}
	return inOrder(slices.DeleteFunc(found, func(l likeness) bool { return len(l.ranks) < 2 }))
}

// inOrder puts the largest groups first.
func inOrder(found []likeness) []likeness {
	slices.SortFunc(found, func(a, b likeness) int {
		return cmp.Or(cmp.Compare(len(b.ranks), len(a.ranks)), cmp.Compare(a.shared, b.shared))
	})
	return found
}
