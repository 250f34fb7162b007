package ledgertest

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/outage"
)

// Memory is a campaign.Ledger in memory, for tests. Down makes it fail like a
// store that cannot be reached.
type Memory struct {
	mu        sync.Mutex
	down      bool
	versions  []campaign.Campaign
	grants    map[key]campaign.Grant
	waiting   map[key]campaign.Waiting
	expected  map[key]campaign.Expected
	conflicts []campaign.Conflict
}

type key struct{ campaign, user string }

var _ campaign.Ledger = (*Memory)(nil)

// NewMemory returns an empty ledger.
func NewMemory() *Memory {
	return &Memory{
		grants: map[key]campaign.Grant{}, waiting: map[key]campaign.Waiting{}, expected: map[key]campaign.Expected{},
	}
}

// Down makes every method fail with an *outage.Error, or work again.
func (m *Memory) Down(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
}

func (m *Memory) lock(op string) (func(), error) {
	m.mu.Lock()
	if m.down {
		m.mu.Unlock()
		return nil, outage.New("mongodb", op, errors.New("switched off by the test"))
	}
	return m.mu.Unlock, nil
}

func compareVersions(a, b campaign.Campaign) int {
	x, _ := strconv.Atoi(a.ID)
	y, _ := strconv.Atoi(b.ID)
	return cmp.Or(cmp.Compare(x, y), cmp.Compare(a.Version, b.Version))
}

// Newest implements campaign.History.
func (m *Memory) Newest(context.Context) (campaign.Campaign, error) {
	return m.version(func(campaign.Campaign) bool { return true })
}

// Campaign implements campaign.History.
func (m *Memory) Campaign(_ context.Context, id string) (campaign.Campaign, error) {
	return m.version(func(c campaign.Campaign) bool { return c.ID == id })
}

func (m *Memory) version(match func(campaign.Campaign) bool) (campaign.Campaign, error) {
	unlock, err := m.lock("read campaign")
	if err != nil {
		return campaign.Campaign{}, err
	}
	defer unlock()
	found := slices.DeleteFunc(slices.Clone(m.versions), func(c campaign.Campaign) bool { return !match(c) })
	if len(found) == 0 {
		return campaign.Campaign{}, campaign.ErrNoCampaign
	}
	return slices.MaxFunc(found, compareVersions), nil
}

// AddVersion implements campaign.History.
func (m *Memory) AddVersion(_ context.Context, c campaign.Campaign) error {
	unlock, err := m.lock("add version")
	if err != nil {
		return err
	}
	defer unlock()
	for _, v := range m.versions {
		if v.ID == c.ID && v.Version == c.Version {
			return campaign.ErrConflict
		}
	}
	m.versions = append(m.versions, c)
	return nil
}

// AddGrants implements campaign.Records.
func (m *Memory) AddGrants(_ context.Context, grants []campaign.Grant) ([]campaign.Conflict, error) {
	unlock, err := m.lock("add grants")
	if err != nil {
		return nil, err
	}
	defer unlock()
	var found []campaign.Conflict
	for _, g := range grants {
		holder := m.holder(g)
		if holder == "" {
			m.grants[key{g.CampaignID, g.UserID}] = g
			continue
		}
		if m.grants[key{g.CampaignID, g.UserID}].Rank == g.Rank {
			continue
		}
		c := campaign.Conflict{CampaignID: g.CampaignID, UserID: g.UserID, Rank: g.Rank, Holder: holder, FoundAt: g.GrantedAt}
		found = append(found, c)
		if !slices.ContainsFunc(m.conflicts, func(o campaign.Conflict) bool {
			return o.CampaignID == c.CampaignID && o.UserID == c.UserID && o.Rank == c.Rank
		}) {
			m.conflicts = append(m.conflicts, c)
		}
	}
	return found, nil
}

// holder is who stands in the way of a grant, or "".
func (m *Memory) holder(g campaign.Grant) string {
	if _, ok := m.grants[key{g.CampaignID, g.UserID}]; ok {
		return g.UserID
	}
	for _, o := range m.grants {
		if o.CampaignID == g.CampaignID && o.Rank == g.Rank {
			return o.UserID
		}
	}
	return ""
}

// AddWaiting implements campaign.Records.
func (m *Memory) AddWaiting(_ context.Context, waiting []campaign.Waiting) error {
	unlock, err := m.lock("add waiting")
	if err != nil {
		return err
	}
	defer unlock()
	for _, w := range waiting {
		if _, ok := m.waiting[key{w.CampaignID, w.UserID}]; !ok {
			m.waiting[key{w.CampaignID, w.UserID}] = w
		}
	}
	return nil
}

// Grant implements campaign.Records.
func (m *Memory) Grant(_ context.Context, campaignID, userID string) (campaign.Grant, error) {
	unlock, err := m.lock("read grant")
	if err != nil {
		return campaign.Grant{}, err
	}
	defer unlock()
	g, ok := m.grants[key{campaignID, userID}]
	if !ok {
		return campaign.Grant{}, campaign.ErrNoGrant
	}
	return g, nil
}

// Arrived implements campaign.Records.
func (m *Memory) Arrived(_ context.Context, campaignID, userID string) (bool, error) {
	unlock, err := m.lock("read arrival")
	if err != nil {
		return false, err
	}
	defer unlock()
	_, granted := m.grants[key{campaignID, userID}]
	_, waits := m.waiting[key{campaignID, userID}]
	return granted || waits, nil
}

// Grants implements campaign.Records.
func (m *Memory) Grants(_ context.Context, campaignID string) iter.Seq2[campaign.Grant, error] {
	return list(m, m.grants, func(g campaign.Grant) (string, int64) { return g.CampaignID, g.Rank }, campaignID)
}

// Waiting implements campaign.Records.
func (m *Memory) Waiting(_ context.Context, campaignID string) iter.Seq2[campaign.Waiting, error] {
	return list(m, m.waiting, func(w campaign.Waiting) (string, int64) { return w.CampaignID, w.Position }, campaignID)
}

func list[T any](m *Memory, from map[key]T, of func(T) (string, int64), campaignID string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		unlock, err := m.lock("list")
		if err != nil {
			var zero T
			yield(zero, err)
			return
		}
		var all []T
		for _, v := range from {
			if id, _ := of(v); id == campaignID {
				all = append(all, v)
			}
		}
		unlock()
		slices.SortFunc(all, func(a, b T) int {
			_, x := of(a)
			_, y := of(b)
			return cmp.Compare(x, y)
		})
		for _, v := range all {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// Conflicts implements campaign.Records.
func (m *Memory) Conflicts(_ context.Context, campaignID string) ([]campaign.Conflict, error) {
	unlock, err := m.lock("read conflicts")
	if err != nil {
		return nil, err
	}
	defer unlock()
	return slices.DeleteFunc(slices.Clone(m.conflicts), func(c campaign.Conflict) bool { return c.CampaignID != campaignID }), nil
}

// Expect implements campaign.Expectations.
func (m *Memory) Expect(_ context.Context, e campaign.Expected) error {
	unlock, err := m.lock("expect")
	if err != nil {
		return err
	}
	defer unlock()
	if _, ok := m.expected[key{e.CampaignID, e.UserID}]; !ok {
		m.expected[key{e.CampaignID, e.UserID}] = e
	}
	return nil
}

// Expected implements campaign.Expectations.
func (m *Memory) Expected(_ context.Context, before time.Time, limit int) ([]campaign.Expected, error) {
	unlock, err := m.lock("read expected")
	if err != nil {
		return nil, err
	}
	defer unlock()
	var found []campaign.Expected
	for _, e := range m.expected {
		if e.At.Before(before) {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b campaign.Expected) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.UserID, b.UserID))
	})
	return found[:min(limit, len(found))], nil
}

// Unexpect implements campaign.Expectations.
func (m *Memory) Unexpect(_ context.Context, done []campaign.Expected) error {
	unlock, err := m.lock("unexpect")
	if err != nil {
		return err
	}
	defer unlock()
	for _, e := range done {
		delete(m.expected, key{e.CampaignID, e.UserID})
	}
	return nil
}
