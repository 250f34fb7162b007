package campaign_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// A restorer that is at work is left alone, but not until a time to come, when the
// clock of Redis was set back after it died. Checked without the look at the age.
func TestRestorerWithAClockThatWasSetBack(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		right := func(by string) bool {
			t.Helper()
			r, err := b.board.Close(t.Context(), by, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			return r != nil
		}
		if !right("one") || right("two") {
			t.Error("the right went to two, or to nobody")
		}
		b.redis.HSet(t.Context(), campaign.KeyCampaign, "restorer_at", time.Now().Add(time.Hour).UnixMilli())
		if !right("two") {
			t.Error("nobody may restore for an hour")
		}
	})
}

// A client asks again when an answer is lost, and must not hear that somebody
// else was at work; once another restore began, it does. Checked by leaving out
// opened_by in open.lua.
func TestOpenMayBeAskedAgain(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		b.start(t, 5, 0)
		c, err := b.ledger.Newest(ctx)
		if err != nil {
			t.Fatal(err)
		}
		plan := campaign.Plan{Campaign: c, Places: []campaign.Place{{UserID: "a", Position: 1}}, Last: 1}
		restore, err := b.board.Close(ctx, "one", 0)
		if err != nil || restore == nil {
			t.Fatal(restore, err)
		}
		for range 2 {
			if opened, err := restore.Open(ctx, plan); err != nil || !opened {
				t.Fatalf("opened %t, %v", opened, err)
			}
			b.expect(t, "a", granted("1", 1))
		}
		if _, err := b.board.Close(ctx, "other", 0); err != nil {
			t.Fatal(err)
		}
		if opened, err := restore.Open(ctx, plan); err != nil || opened {
			t.Errorf("opened %t, %v, after another restore began", opened, err)
		}
	})
}

// dies fails every ZADD but the first.
type dies struct {
	redis.Hook
	adds int
}

var errDied = errors.New("died")

func (d *dies) at(cmds ...redis.Cmder) error {
	if slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return c.Name() == "zadd" }) {
		if d.adds++; d.adds > 1 {
			return errDied
		}
	}
	return nil
}

func (d *dies) DialHook(next redis.DialHook) redis.DialHook { return next }

func (d *dies) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := d.at(cmd); err != nil {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

func (d *dies) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := d.at(cmds...); err != nil {
			return err
		}
		return next(ctx, cmds)
	}
}

// What a restorer has prepared goes by itself, whenever it dies. Checked by
// setting the time to live when all is prepared.
func TestStagedPlacesExpire(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		b.start(t, 5, 0)
		client := connect(t, b.url)
		client.AddHook(&dies{})
		restore, err := campaign.NewBoard(client).Close(ctx, "one", 0)
		if err != nil || restore == nil {
			t.Fatal(restore, err)
		}
		var plan campaign.Plan
		for i := range int64(1500) { // more than one batch
			plan.Places = append(plan.Places, campaign.Place{UserID: fmt.Sprint(i), Position: i + 1})
		}
		if opened, err := restore.Open(ctx, plan); !errors.Is(err, errDied) || opened {
			t.Fatalf("opened %t, %v", opened, err)
		}
		staged := b.redis.Keys(ctx, "*staging*").Val()
		if len(staged) != 1 {
			t.Fatalf("staged %v, want the arrivals", staged)
		}
		if ttl := b.redis.TTL(ctx, staged[0]).Val(); ttl <= 0 || ttl > time.Hour {
			t.Errorf("%s expires in %s", staged[0], ttl)
		}
	})
}

// before does something before each script.
type before struct {
	redis.Hook
	do func()
}

func (b before) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b before) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			b.do()
		}
		return next(ctx, cmd)
	}
}

func (b before) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// A restorer whose prepared places or entries are not all there, as when they
// expired, changes nothing. Checked by leaving out each of the two numbers in
// open.lua.
func TestOpenWantsAllThatWasStaged(t *testing.T) {
	for _, what := range []string{"arrivals", "entries"} {
		t.Run(what, func(t *testing.T) {
			each(t, func(t *testing.T, b *bench) {
				ctx := t.Context()
				c := b.start(t, 5, 0)
				b.expect(t, "a", granted("1", 1))
				client := connect(t, b.url)
				restore, err := campaign.NewBoard(client).Close(ctx, "one", 0)
				if err != nil || restore == nil {
					t.Fatal(restore, err)
				}
				client.AddHook(before{do: func() { b.redis.Del(ctx, b.redis.Keys(ctx, "*staging*"+what).Val()...) }})
				place := []campaign.Place{{UserID: "b", Position: 1}}
				opened, err := restore.Open(ctx, campaign.Plan{Campaign: c, Places: place, Arrived: place, Last: 1})
				if err != nil || opened {
					t.Errorf("opened %t, %v", opened, err)
				}
				b.expect(t, "a", granted("1", 1))
			})
		})
	}
}
