package command

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// meanwhile answers yes, but only after somebody else has done something.
type meanwhile struct{ do func() }

func (m *meanwhile) Read(p []byte) (int, error) {
	m.do()
	return copy(p, "yes\n"), nil
}

func TestTwoAdminsAtOnce(t *testing.T) {
	tests := []struct {
		name          string
		given         string // done before
		first, second string // first asks; second is done before it is answered
		says          []string
		status        campaign.Status
		slots         int64
	}{
		{
			"two starts", "", "campaign start --name Mine --slots 5 --discount 10", "campaign start --yes --as bob --name Theirs --slots 7 --discount 10",
			[]string{`nothing was changed: bob was faster; campaign 1 "Theirs" is active now, with 7 slots`, `hint: look at it with "earlybird campaign status"`},
			campaign.Active, 7,
		},
		{
			"two extensions", "campaign start --yes --name L --slots 5 --discount 10", "campaign extend --slots 6", "campaign extend --slots 8 --yes --as bob",
			[]string{"bob was faster", "with 8 slots"},
			campaign.Active, 8,
		},
		{
			"paused before it is ended", "campaign start --yes --name L --slots 5 --discount 10", "campaign end", "campaign pause --yes --as bob",
			[]string{"bob was faster", "is paused now"},
			campaign.Paused, 5,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStores(t)
			if tt.given != "" {
				s.mustRun(t, tt.given)
			}
			status, out, errs := s.run(t.Context(), &meanwhile{func() { s.mustRun(t, tt.second) }}, tt.first)
			if status != exitFailed || out != "" {
				t.Errorf("exit %d, result %q, want a failure without one", status, out)
			}
			for _, want := range tt.says {
				if !strings.Contains(errs, want) {
					t.Errorf("no %q in:\n%s", want, errs)
				}
			}
			newest, err := s.mongo.Newest(t.Context())
			if err != nil || newest.Status != tt.status || newest.Slots != tt.slots || newest.ChangedBy != "bob" {
				t.Errorf("newest %+v, %v: want what bob decided", newest, err)
			}
		})
	}
}

// TestChangeWithoutRedis: what is decided is stored, and Redis follows later.
func TestChangeWithoutRedis(t *testing.T) {
	s := newStores(t)
	s.mustRun(t, "campaign start --yes --name L --slots 1 --discount 10")
	s.claim(t, "a", "b")
	s.server.Kill()
	status, out, errs := s.run(t.Context(), strings.NewReader(""), "campaign pause --yes --output csv")
	if status != exitDone || !strings.Contains(errs, "Redis does not follow yet") || !strings.Contains(out, ",paused,") {
		t.Errorf("exit %d, %s%s", status, out, errs)
	}
	if status, _, errs := s.run(t.Context(), strings.NewReader(""), "campaign restore --yes"); status != exitFailed || !strings.Contains(errs, "is Redis running") {
		t.Errorf("restore without Redis: exit %d, %s", status, errs)
	}
}

// TestClockOfRedis: a campaign that has not started by it is not put into Redis by
// a restore, nor missed there by an audit, whatever this machine's clock says.
// Checked by looking at that.
func TestClockOfRedis(t *testing.T) {
	s := newStores(t)
	server := miniredis.RunT(t)
	server.SetTime(time.Now().Add(-time.Hour))
	for _, c := range []campaign.Campaign{
		{ID: "1", Version: 1, Name: "now", Slots: 1, Status: campaign.Active, ChangedAt: time.Now().Add(-2 * time.Hour)},
		{ID: "2", Version: 1, Name: "next", Slots: 1, Status: campaign.Active, ChangedAt: time.Now().Add(-time.Hour), StartsAt: time.Now().Add(-30 * time.Minute)},
	} {
		if err := s.mongo.AddVersion(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	s.mustRun(t, "campaign restore --yes --redis-url redis://"+server.Addr())
	if id := server.HGet(campaign.KeyCampaign, "id"); id != "1" {
		t.Errorf("redis has campaign %q, want 1", id)
	}
	s.mustRun(t, "campaign audit --redis-url redis://"+server.Addr())
}

// TestInterrupted: Ctrl-C before the answer changes nothing.
func TestInterrupted(t *testing.T) {
	s := newStores(t)
	s.mustRun(t, "campaign start --yes --name L --slots 1 --discount 10")
	ctx, interrupt := context.WithCancel(t.Context())
	status, _, _ := s.run(ctx, &meanwhile{interrupt}, "campaign end")
	newest, err := s.mongo.Newest(t.Context())
	if status != exitFailed || err != nil || newest.Status != campaign.Active {
		t.Errorf("exit %d, campaign %+v, %v", status, newest, err)
	}
}
