package campaign_test

import (
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
	"github.com/earlybird/earlybird/identity/oldcampaign/ledgertest"
)

// model is what a campaign should be: nothing but the order of first logins
// and the settings.
type model struct {
	id       int64
	status   campaign.Status
	slots    int
	waitlist int
	order    []string
	lost     []string // logins that were answered and whose claim never reached Redis
	closed   bool     // Redis must be restored first
}

func (m *model) claim(user string) campaign.Outcome {
	at := slices.Index(m.order, user)
	switch {
	case at >= 0 && at < m.slots:
		return granted(strconv.FormatInt(m.id, 10), int64(at+1))
	case m.closed:
		return state(campaign.StatePending)
	case m.id == 0:
		return state(campaign.StateNone)
	case m.status == campaign.Paused:
		return state(campaign.StatePaused)
	case m.status == campaign.Ended:
		return state(campaign.StateEnded)
	case at >= 0 || len(m.order) >= m.slots+m.waitlist:
		return state(campaign.StateFull)
	}
	m.order = append(m.order, user)
	return m.claim(user)
}

// makeGood claims the logins that were lost, in their order.
func (m *model) makeGood() {
	if m.status == campaign.Active {
		for _, user := range m.lost {
			m.claim(user)
		}
	}
}

// machine drives Redis and the model with the same operations.
type machine struct {
	model
	redis  redis.UniversalClient
	board  *campaign.Board
	ledger *ledgertest.Memory
	admin  *campaign.Admin
	keeper *keeper.Keeper
	step   time.Duration
}

func newMachine(t *rapid.T, client redis.UniversalClient) *machine {
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	m := &machine{redis: client, board: campaign.NewBoard(client), ledger: ledgertest.NewMemory()}
	m.admin = campaign.NewAdmin(campaign.AdminConfig{Ledger: m.ledger, Board: m.board, By: "test"})
	m.keeper = keeper.New(keeper.Config{
		Ledger: m.ledger, Redis: client, Log: slog.New(slog.DiscardHandler), Claimer: m.claimer(),
		Now: func() time.Time { return time.Now().Add(time.Hour) }, // every expected login is overdue
	})
	m.closed = true
	m.repair(t)
	return m
}

func (m *machine) claimer() *campaign.Claimer {
	return campaign.NewClaimer(campaign.ClaimerConfig{Redis: m.redis, Timeout: 5 * time.Second})
}

func user(t *rapid.T) string {
	return fmt.Sprint("u", rapid.IntRange(0, 11).Draw(t, "user"))
}

func (m *machine) Claim(t *rapid.T) {
	u := user(t)
	want := m.claim(u)
	if got := m.claimer().Claim(t.Context(), u); got != want {
		t.Fatalf("claim of %s: %+v, want %+v", u, got, want)
	}
}

// LoseClaim is a login whose claim never reaches Redis.
func (m *machine) LoseClaim(t *rapid.T) {
	u := user(t)
	p := campaign.NewPromotions(campaign.PromotionsConfig{Ledger: m.ledger, Board: m.board, Timeout: 5 * time.Second})
	m.step += time.Millisecond
	if err := p.Expect(t.Context(), u, time.Now().Add(m.step)); err != nil {
		t.Fatal(err)
	}
	if m.id > 0 && m.status == campaign.Active && !slices.Contains(m.lost, u) && !slices.Contains(m.order, u) {
		if m.closed || len(m.order) < m.slots+m.waitlist {
			m.lost = append(m.lost, u)
		}
	}
}

func (m *machine) Sweep(t *rapid.T) {
	if m.closed {
		t.Skip("claims are closed")
	}
	if err := m.keeper.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.makeGood()
	if m.status != campaign.Paused { // they came before the pause, and wait for it to end
		m.lost = nil
	}
}

func (m *machine) Start(t *rapid.T) {
	slots, waitlist := rapid.IntRange(1, 5).Draw(t, "slots"), rapid.IntRange(0, 4).Draw(t, "waitlist")
	_, err := m.admin.Start(t.Context(), campaign.StartRequest{
		Name: "n", Discount: 30, Slots: int64(slots), Waitlist: int64(waitlist),
	})
	if (err == nil) != (m.id == 0 || m.status == campaign.Ended) {
		t.Fatalf("start: %v, while campaign %d is %s", err, m.id, m.status)
	}
	if err != nil {
		return
	}
	m.model = model{id: m.id + 1, status: campaign.Active, slots: slots, waitlist: waitlist, closed: m.closed}
	m.follow(t)
}

// follow lets Redis follow what was decided while it was closed.
func (m *machine) follow(t *rapid.T) {
	if m.closed {
		m.repair(t)
	}
}

func (m *machine) change(t *rapid.T, allowed bool, change func() (campaign.Change, error), then func()) {
	if m.id == 0 {
		t.Skip("no campaign")
	}
	_, err := change()
	if (err == nil) != (allowed && m.status != campaign.Ended) {
		t.Fatalf("change: %v, while the campaign is %s", err, m.status)
	}
	if err == nil {
		then()
		m.follow(t)
	}
}

func (m *machine) Extend(t *rapid.T) {
	n := rapid.IntRange(1, 10).Draw(t, "slots")
	m.change(t, n > m.slots, func() (campaign.Change, error) { return m.admin.Extend(t.Context(), int64(n)) }, func() { m.slots = n })
}

func (m *machine) Pause(t *rapid.T) {
	m.change(t, m.status == campaign.Active, func() (campaign.Change, error) { return m.admin.Pause(t.Context()) },
		func() { m.status = campaign.Paused })
}

func (m *machine) Resume(t *rapid.T) {
	m.change(t, m.status == campaign.Paused, func() (campaign.Change, error) { return m.admin.Resume(t.Context()) },
		func() { m.status = campaign.Active })
}

func (m *machine) End(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "seldom") > 0 {
		t.Skip("not now")
	}
	m.change(t, true, func() (campaign.Change, error) { return m.admin.End(t.Context()) }, func() { m.status = campaign.Ended })
}

func (m *machine) Drain(t *rapid.T) {
	// Drain waits for new entries when there are none; one that is read as
	// nothing keeps it from waiting.
	if err := m.redis.XAdd(t.Context(), &redis.XAddArgs{Stream: campaign.KeyOutbox, Values: map[string]any{"type": "campaign"}}).Err(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first may only create the consumer group
		if err := m.keeper.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		groups, err := m.redis.XInfoGroups(t.Context(), campaign.KeyOutbox).Result()
		if err != nil || len(groups) != 1 {
			t.Fatal(groups, err)
		}
		if groups[0].LastDeliveredID != "0-0" {
			break
		}
	}
}

// Lose takes from Redis what another source still has.
func (m *machine) Lose(t *rapid.T) {
	ctx := t.Context()
	var err error
	switch what := rapid.SampledFrom([]string{"everything", "arrivals", "outbox", "server"}).Draw(t, "what"); what {
	case "everything":
		m.Drain(t)
		err = m.redis.FlushAll(ctx).Err()
		m.order, m.closed = nil, true // nobody has a position until the restore
	case "arrivals":
		err = m.redis.Del(ctx, campaign.KeyCampaign, campaign.KeyArrivals).Err()
		m.order, m.closed = nil, true
	case "outbox":
		err = m.redis.Del(ctx, campaign.KeyOutbox).Err()
		m.closed = true
		err = firstOf(err, m.redis.HSet(ctx, campaign.KeyCampaign, "run_id", "other").Err())
	case "server":
		err = m.redis.HSet(ctx, campaign.KeyCampaign, "run_id", "other").Err()
		m.closed = true
	}
	if err != nil {
		t.Fatal(err)
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) repair(t *rapid.T) {
	if err := m.keeper.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.closed = false
}

func runModel(t *testing.T, client redis.UniversalClient, checks string) {
	t.Helper()
	if err := flag.Set("rapid.checks", checks); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t, client)
		t.Repeat(map[string]func(*rapid.T){
			"claim": m.Claim, "claim again": m.Claim, "claim more": m.Claim,
			"lose claim": m.LoseClaim, "sweep": m.Sweep,
			"start": m.Start, "extend": m.Extend, "pause": m.Pause, "resume": m.Resume, "end": m.End,
			"drain": m.Drain,
			"lose and restore": func(t *rapid.T) {
				before := slices.Clone(m.order)
				m.Lose(t)
				if rapid.Bool().Draw(t, "claim meanwhile") {
					m.Claim(t)
				}
				if rapid.Bool().Draw(t, "lose a claim meanwhile") && len(m.order) == len(before) {
					m.LoseClaim(t)
				}
				m.order = before
				m.repair(t)
				m.makeGood()
			},
			"": func(t *rapid.T) { m.check(t) },
		})
	})
}

// check compares Redis with the model as a whole.
func (m *machine) check(t *rapid.T) {
	s, err := m.board.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !s.Exists || !s.Verified || s.Last != int64(len(m.order)) || s.Arrivals != s.Last {
		t.Fatalf("redis has %+v, want the arrivals %v", s, m.order)
	}
	next := 0
	for p, err := range m.board.Places(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if p.UserID != m.order[next] || p.Position != int64(next+1) {
			t.Fatalf("redis has %s at %d, want the arrivals %v", p.UserID, p.Position, m.order)
		}
		next++
	}
	for g, err := range m.ledger.Grants(t.Context(), strconv.FormatInt(m.id, 10)) {
		if err != nil {
			t.Fatal(err)
		}
		if int(g.Rank) > min(m.slots, len(m.order)) || m.order[g.Rank-1] != g.UserID {
			t.Fatalf("ledger has %s at rank %d, want %d slots of %v", g.UserID, g.Rank, m.slots, m.order)
		}
	}
}

// The scripts against a model, with random operations. Checked by letting
// claim.lua give `last` for `last + 1`, apply.lua keep the arrivals of the
// campaign before, open.lua leave `last` alone: each is found.
func TestModel(t *testing.T) {
	t.Run("miniredis", func(t *testing.T) { runModel(t, connect(t, "redis://"+miniredis.RunT(t).Addr()), "60") })
	t.Run("redis", func(t *testing.T) {
		runModel(t, connect(t, testserver.Redis(t, testserver.WithRedisArgs("--appendfsync", "no")).URL()), "25")
	})
}
