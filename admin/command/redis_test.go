package command

import (
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/revocation"
)

// Broken on purpose by taking the latest beat of all: a Redis whose campaign is
// another database's can never be adopted while our own service runs.
func TestBeatOfOthers(t *testing.T) {
	early, late := time.Unix(100, 0), time.Unix(200, 0)
	tests := []struct {
		name                  string
		campaign, revocations string // origins
		atCampaign, atRevoked time.Time
		want                  time.Time
	}{
		{"both theirs", "THEIRS", "THEIRS", early, late, late},
		{"both theirs, the campaign later", "THEIRS", "THEIRS", late, early, late},
		{"the campaign alone", "THEIRS", "OURS", early, late, early},
		{"the revocations alone", "OURS", "THEIRS", late, early, early},
		{"the campaign, without a beat", "THEIRS", "OURS", time.Time{}, late, time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := mirror.Summary{MirrorState: campaign.MirrorState{Origin: tt.campaign, Beat: tt.atCampaign}}
			if got := beatOfOthers("OURS", m, revocation.State{Origin: tt.revocations, Beat: tt.atRevoked}); !got.Equal(tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
