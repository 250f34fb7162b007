package keeper_test

import (
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
)

func (b *bench) sweep(t *testing.T) {
	t.Helper()
	if err := b.keeper.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Rule 5: logins whose claim was lost are claimed in login order, once they
// are 10 s old. Checked by sorting them by user, and by sweeping at once.
func TestSweepClaimsInLoginOrder(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 3, 1)
		now := time.Now()
		for i, user := range []string{"d", "a", "c", "b", "e"} { // e does not fit any more
			b.login(t, user, now.Add(time.Duration(i)*time.Millisecond))
		}
		b.sweep(t)
		if s, _ := b.board.Snapshot(t.Context()); s.Last != 0 {
			t.Fatalf("%d logins were swept at once", s.Last)
		}
		b.later(11 * time.Second)
		b.sweep(t)
		b.ranks(t, "d", "a", "c")
		if got := b.expected(t); len(got) != 4 {
			t.Errorf("expected %v: what is not stored must stay, and e must not", got)
		}
		b.drain(t)
		b.sweep(t)
		if got := b.expected(t); len(got) > 0 {
			t.Errorf("still expected: %v", got)
		}
	})
}

func TestSweepDropsWhatIsSettled(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		b.start(t, 1, 5)
		b.claim(t, "a", "w")
		b.drain(t)
		// Expected by a login that raced with the drain of the same user's first.
		for _, user := range []string{"a", "w"} {
			if err := b.ledger.Expect(ctx, campaign.Expected{CampaignID: "1", UserID: user, At: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.ledger.Expect(ctx, campaign.Expected{CampaignID: "0", UserID: "of an earlier campaign", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		b.later(11 * time.Second)
		b.sweep(t)
		if got := b.expected(t); len(got) > 0 {
			t.Errorf("still expected: %v", got)
		}
	})
}

// Nobody is overtaken: what cannot be decided stops the sweep and stays.
func TestSweepWaitsForRedis(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 3, 1)
		b.login(t, "a", time.Now())
		b.login(t, "b", time.Now().Add(time.Millisecond))
		b.redis.HSet(t.Context(), campaign.KeyCampaign, "run_id", "other")
		b.later(11 * time.Second)
		b.sweep(t)
		if got := b.expected(t); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("expected %v, want a and b", got)
		}
		b.repair(t)
		b.ranks(t, "a", "b")
	})
}

// A login from before a pause counts, so it waits for the campaign to go on,
// and that is nothing for the audit. Checked by dropping it like one that came
// after the end, and by leaving out the look at the status in the audit.
func TestSweepWaitsWhilePaused(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		b.start(t, 3, 1)
		b.login(t, "a", time.Now())
		b.login(t, "b", time.Now().Add(time.Millisecond))
		if _, err := b.admin.Pause(ctx); err != nil {
			t.Fatal(err)
		}
		b.later(2 * time.Minute)
		b.sweep(t)
		if got := b.expected(t); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("while paused expected %v, want a and b", got)
		}
		report, err := keeper.Audit(ctx, keeper.AuditConfig{Ledger: b.ledger, Board: b.board, Now: b.now}, "")
		if err != nil || len(report.Findings) > 0 {
			t.Errorf("audit while paused: %+v, %v", report.Findings, err)
		}
		if _, err := b.admin.Resume(ctx); err != nil {
			t.Fatal(err)
		}
		b.sweep(t)
		b.ranks(t, "a", "b")
		if _, err := b.admin.End(ctx); err != nil {
			t.Fatal(err)
		}
		if err := b.ledger.Expect(ctx, campaign.Expected{CampaignID: "1", UserID: "c", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		b.drain(t)
		b.sweep(t)
		if got := b.expected(t); len(got) > 0 {
			t.Errorf("after the end expected %v, want nobody", got)
		}
	})
}

// deafTo loses the claims of one user.
type deafTo string

func (d deafTo) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (d deafTo) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (d deafTo) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if slices.Contains(cmd.Args(), any(string(d))) {
				cmd.SetErr(io.ErrUnexpectedEOF)
				return io.ErrUnexpectedEOF
			}
		}
		return next(ctx, cmds)
	}
}

// Nobody is overtaken by who logged in later, also when only one claim is
// lost. Checked by going on with the next.
func TestSweepStopsAtWhatIsPending(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 3, 1)
		b.login(t, "a", time.Now())
		b.login(t, "b", time.Now().Add(time.Millisecond))
		b.later(11 * time.Second)
		client := connect(t, b.url)
		client.AddHook(deafTo("a"))
		if err := b.newKeeper(client).Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.sweep(t)
		b.ranks(t, "a", "b")
	})
}
