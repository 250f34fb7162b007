package keeper_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
	"github.com/earlybird/earlybird/identity/oldcampaign/ledgertest"
)

// loginAudit is a login audit in memory.
type loginAudit []keeper.Login

func (a loginAudit) SuccessfulLogins(_ context.Context, before time.Time) iter.Seq2[keeper.Login, error] {
	return func(yield func(keeper.Login, error) bool) {
		for _, l := range a {
			if l.At.Before(before) && !yield(l, nil) {
				return
			}
		}
	}
}

func TestAudit(t *testing.T) {
	xadd := func(t *testing.T, b *bench, values map[string]any) {
		t.Helper()
		if err := b.redis.XAdd(t.Context(), &redis.XAddArgs{Stream: campaign.KeyOutbox, Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	grant := func(t *testing.T, b *bench, user string, rank int64) {
		t.Helper()
		if _, err := b.ledger.AddGrants(t.Context(), []campaign.Grant{{CampaignID: "1", UserID: user, Rank: rank, GrantedAt: time.Now()}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, b *bench)
		want  []keeper.Kind
	}{
		{"nothing", func(*testing.T, *bench) {}, nil},
		{"on the way", func(t *testing.T, b *bench) { b.claim(t, "b2", "c2") }, nil},
		{"raised and not stored yet", func(t *testing.T, b *bench) {
			if _, err := b.admin.Extend(t.Context(), 9); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"a rank given twice", func(t *testing.T, b *bench) {
			xadd(t, b, map[string]any{"type": "grant", "campaign": "1", "user": "a2", "rank": 1})
			b.drain(t)
		}, []keeper.Kind{keeper.KindConflict}},
		{"a gap", func(t *testing.T, b *bench) {
			b.start2(t)
			grant(t, b, "a", 2)
		}, []keeper.Kind{keeper.KindNotInLive, keeper.KindRanks}},
		{
			"beyond the slots", func(t *testing.T, b *bench) { grant(t, b, "x", 4) },
			[]keeper.Kind{keeper.KindNoLogin, keeper.KindNotInLive, keeper.KindRanks, keeper.KindRanks},
		},
		{"redis emptied", func(t *testing.T, b *bench) { b.redis.FlushAll(t.Context()) }, []keeper.Kind{keeper.KindRedis}},
		{
			"redis did not follow", func(t *testing.T, b *bench) { b.redis.HSet(t.Context(), campaign.KeyCampaign, "version", 0) },
			[]keeper.Kind{keeper.KindRedis},
		},
		{
			"arrival gone", func(t *testing.T, b *bench) { b.redis.ZRem(t.Context(), campaign.KeyArrivals, "a") },
			[]keeper.Kind{keeper.KindNotInLive},
		},
		{"arrival slipped in", func(t *testing.T, b *bench) {
			b.redis.ZAdd(t.Context(), campaign.KeyArrivals, redis.Z{Score: 4, Member: "thief"})
		}, []keeper.Kind{keeper.KindNotStored}},
		{"arrival moved", func(t *testing.T, b *bench) {
			b.redis.ZAdd(t.Context(), campaign.KeyArrivals, redis.Z{Score: 4, Member: "a"})
		}, []keeper.Kind{keeper.KindDiffers}},
		{"not made good", func(t *testing.T, b *bench) {
			if err := b.ledger.Expect(t.Context(), campaign.Expected{CampaignID: "1", UserID: "e", At: time.Now().Add(-2 * time.Minute)}); err != nil {
				t.Fatal(err)
			}
		}, []keeper.Kind{keeper.KindOverdue}},
		{"a grant without a login", func(t *testing.T, b *bench) {
			if _, err := b.admin.Extend(t.Context(), 9); err != nil {
				t.Fatal(err)
			}
			b.claim(t, "nobody")
			b.drain(t)
		}, []keeper.Kind{keeper.KindNoLogin}},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T, b *bench) {
				b.start(t, 2, 9)
				var logins loginAudit
				for _, user := range []string{"a", "b", "c"} {
					logins = append(logins, keeper.Login{UserID: user, At: time.Now()})
				}
				b.claim(t, "a", "b", "c")
				b.drain(t)
				c.spoil(t, b)
				report, err := keeper.Audit(t.Context(), keeper.AuditConfig{Ledger: b.ledger, Board: b.board, Logins: logins, Now: b.now}, "")
				if err != nil {
					t.Fatal(err)
				}
				var kinds []keeper.Kind
				for _, f := range report.Findings {
					kinds = append(kinds, f.Kind)
				}
				slices.Sort(kinds)
				if !slices.Equal(kinds, c.want) {
					t.Errorf("findings %+v, want %v", report.Findings, c.want)
				}
			})
		})
	}
}

// start2 replaces the campaign and the ledger's memory of it by an empty one.
func (b *bench) start2(t *testing.T) {
	t.Helper()
	fresh := newBench(t, b.url)
	b.redis.FlushAll(t.Context())
	fresh.repair(t)
	fresh.start(t, 2, 9)
	b.ledger, b.keeper, b.admin = fresh.ledger, fresh.keeper, fresh.admin
}

func TestAuditOfAnEndedCampaign(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		cfg := keeper.AuditConfig{Ledger: b.ledger, Board: b.board}
		if _, err := keeper.Audit(t.Context(), cfg, ""); !errors.Is(err, campaign.ErrNoCampaign) {
			t.Errorf("audit of nothing: %v", err)
		}
		b.start(t, 1, 9)
		b.claim(t, "a", "b")
		b.drain(t)
		if _, err := b.admin.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.start(t, 5, 0)
		report, err := keeper.Audit(t.Context(), cfg, "1")
		if err != nil || len(report.Findings) > 0 || report.Granted != 1 || report.Waiting != 1 {
			t.Errorf("report %+v, %v, want one granted, one waiting, nothing found", report, err)
		}
	})
}

// changing is a ledger in which an admin does something in the middle of an
// audit, once.
type changing struct {
	*ledgertest.Memory
	change func()
}

func (c *changing) Conflicts(ctx context.Context, id string) ([]campaign.Conflict, error) {
	if do := c.change; do != nil {
		c.change = nil
		do()
	}
	return c.Memory.Conflicts(ctx, id)
}

// An admin who changes the campaign while it is audited is no difference.
// Checked by taking the first look for the last.
func TestAuditDuringAChange(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 1, 5)
		b.claim(t, "a", "b", "c")
		b.drain(t)
		ledger := &changing{b.ledger, func() {
			if _, err := b.admin.Extend(t.Context(), 2); err != nil {
				t.Error(err)
			}
			b.drain(t)
		}}
		report, err := keeper.Audit(t.Context(), keeper.AuditConfig{Ledger: ledger, Board: b.board}, "")
		if err != nil || len(report.Findings) > 0 || report.Campaign.Slots != 2 || report.Granted != 2 {
			t.Errorf("%+v, %v: want no findings with two slots", report, err)
		}
	})
}

// doubled is a ledger without its unique index.
type doubled struct{ *ledgertest.Memory }

func (doubled) Grants(context.Context, string) iter.Seq2[campaign.Grant, error] {
	return func(yield func(campaign.Grant, error) bool) {
		_ = yield(campaign.Grant{CampaignID: "1", UserID: "a", Rank: 1}, nil) &&
			yield(campaign.Grant{CampaignID: "1", UserID: "b", Rank: 1}, nil)
	}
}

// Checked by leaving out the case in grants.
func TestAuditNamesADoubleRank(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 5, 0)
		b.claim(t, "a")
		report, err := keeper.Audit(t.Context(), keeper.AuditConfig{Ledger: doubled{b.ledger}, Board: b.board}, "")
		if err != nil || !slices.Contains(report.Findings, keeper.Finding{Kind: keeper.KindRanks, UserID: "b", Detail: "rank 1 is held twice"}) {
			t.Errorf("%+v, %v, want that b holds rank 1 too", report.Findings, err)
		}
	})
}
