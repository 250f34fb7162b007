package campaign_test

import (
	"errors"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/outage"
)

func (b *bench) promotions() *campaign.Promotions {
	return campaign.NewPromotions(campaign.PromotionsConfig{Ledger: b.ledger, Board: b.board, Timeout: 5 * time.Second})
}

// expected is who is expected now.
func (b *bench) expected(t *testing.T) []string {
	t.Helper()
	found, err := b.ledger.Expected(t.Context(), time.Now().Add(time.Hour), 100)
	if err != nil {
		t.Fatal(err)
	}
	var users []string
	for _, e := range found {
		users = append(users, e.CampaignID+":"+e.UserID)
	}
	return users
}

func TestExpect(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, b *bench)
		want    string
	}{
		{"no campaign", func(*testing.T, *bench) {}, ""},
		{"open", func(t *testing.T, b *bench) { b.start(t, 1, 1) }, "1:u"},
		{"not started", func(t *testing.T, b *bench) {
			b.start(t, 1, 1, func(r *campaign.StartRequest) { r.StartsAt = time.Now().Add(time.Hour) })
		}, ""},
		{"paused", func(t *testing.T, b *bench) { b.start(t, 1, 1); must(t)(b.admin.Pause(t.Context())) }, ""},
		{"ended", func(t *testing.T, b *bench) { b.start(t, 1, 1); must(t)(b.admin.End(t.Context())) }, ""},
		{"full, waiting list too", func(t *testing.T, b *bench) { b.start(t, 1, 0); b.claim(t, "other") }, ""},
		{"known", func(t *testing.T, b *bench) { b.start(t, 1, 0); b.claim(t, "u") }, ""},
		{"redis emptied", func(t *testing.T, b *bench) { b.start(t, 1, 0); b.redis.FlushAll(t.Context()) }, "1:u"},
		{"redis emptied, campaign paused", func(t *testing.T, b *bench) {
			b.start(t, 1, 0)
			must(t)(b.admin.Pause(t.Context()))
			b.redis.FlushAll(t.Context())
		}, ""},
		{"redis emptied, no campaign", func(t *testing.T, b *bench) { b.redis.FlushAll(t.Context()) }, ""},
		{"redis down", func(t *testing.T, b *bench) {
			b.start(t, 1, 0)
			b.board = campaign.NewBoard(connect(t, "redis://127.0.0.1:1"))
		}, "1:u"},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T, b *bench) {
				c.prepare(t, b)
				if err := b.promotions().Expect(t.Context(), "u", time.Now()); err != nil {
					t.Fatal(err)
				}
				got := b.expected(t)
				if (c.want == "") != (len(got) == 0) || (c.want != "" && got[0] != c.want) {
					t.Errorf("expected %v, want %q", got, c.want)
				}
			})
		})
	}
}

func TestExpectWhenNothingCanTell(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 1, 0)
		b.redis.FlushAll(t.Context())
		b.ledger.Down(true)
		if err := b.promotions().Expect(t.Context(), "u", time.Now()); !outage.Is(err) {
			t.Errorf("error %v, want an outage", err)
		}
	})
}

// lose takes a user's place out of Redis while the ledger is down.
func (b *bench) lose(t *testing.T, user string) {
	t.Helper()
	b.ledger.Down(true)
	if n := b.redis.ZRem(t.Context(), campaign.KeyArrivals, user).Val(); n != 1 {
		t.Fatalf("%s had no place to lose", user)
	}
}

func TestPromotion(t *testing.T) {
	down := func(t *testing.T, b *bench) { b.board = campaign.NewBoard(connect(t, "redis://127.0.0.1:1")) }
	for _, c := range []struct {
		name    string
		user    string
		prepare func(t *testing.T, b *bench)
		rank    int64
		err     string
	}{
		{"from redis before the drain", "b", func(*testing.T, *bench) {}, 2, ""},
		{"from the ledger", "b", func(t *testing.T, b *bench) { b.drain(t); down(t, b) }, 2, ""},
		{"ledger down", "a", func(_ *testing.T, b *bench) { b.ledger.Down(true) }, 1, ""},
		{"turned away", "c", func(t *testing.T, b *bench) { b.drain(t) }, 0, "no grant"},
		{"never logged in", "d", func(t *testing.T, b *bench) { b.drain(t) }, 0, "no grant"},
		{"neither can tell", "b", func(t *testing.T, b *bench) { down(t, b) }, 0, "outage"},
		// Redis decides: while it is whole it can tell who holds nothing, and
		// it cannot when a place is missing, whether claims are open or not.
		{"ledger down, never logged in", "d", func(_ *testing.T, b *bench) { b.ledger.Down(true) }, 0, "no grant"},
		{"ledger down, a place lost", "a", func(t *testing.T, b *bench) { b.lose(t, "a") }, 0, "outage"},
		{"ledger down, a place lost, paused", "a", func(t *testing.T, b *bench) { must(t)(b.admin.Pause(t.Context())); b.lose(t, "a") }, 0, "outage"},
		{"ledger down, a place lost, ended", "a", func(t *testing.T, b *bench) { must(t)(b.admin.End(t.Context())); b.lose(t, "a") }, 0, "outage"},
		{"ledger down, redis emptied", "a", func(t *testing.T, b *bench) { b.redis.FlushAll(t.Context()); b.ledger.Down(true) }, 0, "outage"},
		{"redis emptied before the drain", "d", func(t *testing.T, b *bench) { b.redis.FlushAll(t.Context()) }, 0, "outage"},
		{"raised", "c", func(t *testing.T, b *bench) { must(t)(b.admin.Extend(t.Context(), 3)); b.drain(t) }, 3, ""},
		{"raised, not stored yet", "c", func(t *testing.T, b *bench) { must(t)(b.admin.Extend(t.Context(), 3)) }, 3, ""},
		{"ended", "a", func(t *testing.T, b *bench) { must(t)(b.admin.End(t.Context())) }, 1, ""},
		{"the next campaign", "a", func(t *testing.T, b *bench) {
			b.drain(t)
			must(t)(b.admin.End(t.Context()))
			b.start(t, 1, 0)
		}, 0, "no grant"},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T, b *bench) {
				b.start(t, 2, 2)
				for _, user := range []string{"a", "b", "c"} {
					b.claim(t, user)
				}
				c.prepare(t, b)
				p, err := b.promotions().Promotion(t.Context(), c.user)
				switch {
				case c.err == "no grant" && !errors.Is(err, campaign.ErrNoGrant), c.err == "outage" && !outage.Is(err), c.err == "" && err != nil:
					t.Fatalf("error %v, want %q", err, c.err)
				case c.err != "":
					return
				}
				if p.GrantedAt.IsZero() {
					t.Error("it is not told when it was granted")
				}
				p.GrantedAt = time.Time{}
				want := campaign.Promotion{
					Grant: campaign.Grant{CampaignID: "1", UserID: c.user, Rank: c.rank},
					Name:  "Early bird", Description: "for the first", Discount: 30,
				}
				if p != want {
					t.Errorf("promotion %+v, want %+v", p, want)
				}
			})
		})
	}
}
