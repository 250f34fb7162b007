package command

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/campaign"
)

// meanwhile answers yes, but only after somebody else has done something.
type meanwhile struct {
	do     func()
	answer io.Reader // nil: not asked yet
}

func (m *meanwhile) Read(p []byte) (int, error) {
	if m.answer == nil {
		m.do()
		m.answer = strings.NewReader("yes\n")
	}
	return m.answer.Read(p)
}

// TestTwoAdminsAtOnce: what is shown is what is changed. Of two admins one wins,
// and the other is told what happened.
func TestTwoAdminsAtOnce(t *testing.T) {
	tests := []struct {
		name          string
		given         string // done before
		first, second string // first asks; second is done before it is answered
		says          []string
		phase         campaign.Phase
		slots         int64
	}{
		{
			"two starts", "", "campaign start --name Mine --slots 5 --discount 10", "campaign start --yes --as bob --name Theirs --slots 7 --discount 10",
			[]string{`bob was faster: "start" of campaign 1`, `hint: nothing was changed; look at it with "earlybird campaign status"`},
			campaign.PhaseOpen, 7,
		},
		{
			"two extensions", "campaign start --yes --name L --slots 5 --discount 10", "campaign extend --slots 6", "campaign extend --slots 8 --yes --as bob",
			[]string{`bob was faster: "change" of campaign 1`},
			campaign.PhaseOpen, 8,
		},
		{
			"paused before it is ended", "campaign start --yes --name L --slots 5 --discount 10", "campaign end", "campaign pause --yes --as bob",
			[]string{`bob was faster: "pause" of campaign 1`},
			campaign.PhasePaused, 5,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStores(t)
			if tt.given != "" {
				s.mustRun(t, tt.given)
			}
			status, out, errs := s.run(t.Context(), &meanwhile{do: func() { s.mustRun(t, tt.second) }}, tt.first)
			if status != exitFailed || out != "" {
				t.Errorf("exit %d, result %q, want a failure without one", status, out)
			}
			for _, want := range tt.says {
				if !strings.Contains(errs, want) {
					t.Errorf("no %q in:\n%s", want, errs)
				}
			}
			if f := s.latest(t); f.Phase() != tt.phase || f.Settings().Slots != tt.slots {
				t.Errorf("campaign %s with %d slots, want what bob decided", f.Phase(), f.Settings().Slots)
			}
		})
	}
}

// TestArrivalsDoNotRefuse: logins between the question and the answer are no
// reason to refuse.
func TestArrivalsDoNotRefuse(t *testing.T) {
	s := newStores(t)
	s.mustRun(t, "campaign start --yes --name L --slots 5 --discount 10")
	r := s.replica(t)
	status, out, errs := s.run(t.Context(), &meanwhile{do: func() { place(t, r, "a", "b") }}, "campaign pause --output csv")
	if status != exitDone || !strings.Contains(out, "1,L,10,5,2,3,0,paused,") {
		t.Errorf("exit %d, %s%s", status, out, errs)
	}
}

// TestChangeWithoutRedis: what is decided is in the log, and Redis follows later.
func TestChangeWithoutRedis(t *testing.T) {
	s := newStores(t)
	s.mustRun(t, "campaign start --yes --name L --slots 1 --discount 10")
	s.server.Kill()
	status, out, errs := s.run(t.Context(), strings.NewReader(""), "campaign pause --yes --output csv")
	if status != exitDone || !strings.Contains(errs, "Redis does not have it yet") || !strings.Contains(out, ",paused,") {
		t.Errorf("exit %d, %s%s", status, out, errs)
	}
	if status, _, errs := s.run(t.Context(), strings.NewReader(""), "campaign restore --yes"); status != exitFailed || !strings.Contains(errs, "is Redis running") {
		t.Errorf("restore without Redis: exit %d, %s", status, errs)
	}
}

// silent gives no answer, as somebody who thinks.
type silent struct{ asked func() }

func (s silent) Read([]byte) (int, error) {
	s.asked()
	select {}
}

// TestInterrupted: Ctrl-C at the question ends the command at once, with nothing
// done, also when an answer comes with it.
func TestInterrupted(t *testing.T) {
	for name, typing := range map[string]func(interrupt func()) io.Reader{
		"no answer":          func(interrupt func()) io.Reader { return silent{interrupt} },
		"an answer after it": func(interrupt func()) io.Reader { return &meanwhile{do: interrupt} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStores(t)
			s.mustRun(t, "campaign start --yes --name L --slots 1 --discount 10")
			ctx, interrupt := context.WithCancel(t.Context())
			status, out, errs := s.run(ctx, typing(interrupt), "campaign end")
			if status != exitInterrupted || out != "" || !strings.Contains(errs, "interrupted: nothing was changed") {
				t.Errorf("exit %d, %s%s", status, out, errs)
			}
			if f := s.latest(t); f.Phase() != campaign.PhaseOpen {
				t.Errorf("the campaign is %s", f.Phase())
			}
		})
	}
}
