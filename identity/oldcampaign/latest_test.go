package campaign_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/oldcampaign"
)

func TestLatest(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 5, 10)
		for i := range 7 {
			b.claim(t, fmt.Sprint("u", i+1))
		}
		for _, c := range []struct {
			name  string
			slots int64
			count int
			want  []campaign.Place
		}{
			{"the latest within the slots", 5, 2, []campaign.Place{{UserID: "u5", Position: 5}, {UserID: "u4", Position: 4}}},
			{"fewer than asked for", 2, 9, []campaign.Place{{UserID: "u2", Position: 2}, {UserID: "u1", Position: 1}}},
			{"nobody", 0, 9, nil},
			{"none asked for", 5, 0, nil},
		} {
			got, err := b.board.Latest(t.Context(), c.slots, c.count)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
			}
		}
	})
}

func TestCheck(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	good := campaign.StartRequest{Name: "n", Discount: 30, Slots: 1}
	if err := good.Check(now); err != nil {
		t.Errorf("a good request: %v", err)
	}
	good.EndsAt = now.Add(time.Hour)
	refused(t, "over by then", good.Check(now.Add(2*time.Hour)), "ends")
	good.Discount = 130
	refused(t, "discount", good.Check(now), "discount")
}
