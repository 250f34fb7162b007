package watch

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/admin/output"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func sample(granted, waiting int64) Sample {
	s := Sample{At: noon, Rate: 2.5, Progress: Progress{
		ID: "1", Name: "Launch", Discount: 30, Slots: 100, Status: "active",
		Granted: granted, Remaining: 100 - granted, Waiting: waiting,
	}}
	if granted > 0 {
		s.Latest = []Winner{{Rank: granted, UserID: "U1", Username: "ada"}}
	}
	return s
}

// shown is what a View was given.
type shown struct {
	samples []Sample
	stop    func(n int)
}

func (v *shown) Show(s Sample) error {
	v.samples = append(v.samples, s)
	v.stop(len(v.samples))
	return nil
}

// TestRun drives time by hand: a look each second, 3 logins each, and one that
// fails.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ticks := make(chan time.Time, 100)
	for range 100 {
		ticks <- noon
	}
	looks, now := 0, noon
	view := &shown{stop: func(n int) {
		if n == 20 {
			cancel()
		}
	}}
	err := Run(ctx, Config{
		Look: func(context.Context) (Sample, error) {
			looks++
			now = now.Add(time.Second)
			if looks == 5 {
				return Sample{}, errors.New("redis is down")
			}
			return sample(min(100, 3*int64(looks)), 0), nil
		},
		View: view, Ticks: ticks, Now: func() time.Time { return now },
	})
	if err != nil || len(view.samples) != 20 {
		t.Fatalf("%d samples, %v, want 20 and no error", len(view.samples), err)
	}
	if first := view.samples[0]; first.Rate != 0 || first.Progress.Granted != 3 {
		t.Errorf("first sample %+v", first)
	}
	if s := view.samples[4]; s.Problem != "redis is down" || s.Progress.Granted != 12 {
		t.Errorf("while redis is down: %+v, want what was known before", s)
	}
	if s := view.samples[5]; s.Problem != "" || s.Rate != 3 {
		t.Errorf("after that: %+v", s)
	}
	if s := view.samples[19]; s.Rate != 3 {
		t.Errorf("rate %v within the window, want 3", s.Rate)
	}
}

func TestRunEnds(t *testing.T) {
	failed := errors.New("failed")
	look := func(context.Context) (Sample, error) { return Sample{}, failed }
	cfg := Config{Look: look, View: &shown{}, Ticks: nil, Now: time.Now}
	if err := Run(t.Context(), cfg); !errors.Is(err, failed) {
		t.Errorf("the first look failed: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, cfg); err != nil {
		t.Errorf("interrupted: %v", err)
	}
}

func TestPace(t *testing.T) {
	var p pace
	at := func(second int, id string, granted int64) float64 {
		s := sample(granted, 0)
		s.At, s.Progress.ID = noon.Add(time.Duration(second)*time.Second), id
		return p.add(s)
	}
	for _, step := range []struct {
		second  int
		id      string
		granted int64
		want    float64
	}{
		{0, "1", 10, 0},
		{1, "1", 20, 10},
		{5, "1", 20, 2},
		{11, "1", 20, 0}, // the ten are out of the window
		{12, "2", 0, 0},  // another campaign
		{14, "2", 8, 4},
	} {
		if got := at(step.second, step.id, step.granted); got != step.want {
			t.Errorf("second %d: %v per second, want %v", step.second, got, step.want)
		}
	}
}

// TestScreen: a picture is drawn over the one before. EARLYBIRD_UPDATE=1
// replaces the golden file.
func TestScreen(t *testing.T) {
	var out bytes.Buffer
	screen := &Screen{W: &out}
	samples := []Sample{sample(0, 0), sample(42, 0), sample(100, 7)}
	samples[0].Progress.StartsAt = noon.Add(90 * time.Minute)
	samples[0].Progress.Status = "scheduled"
	samples[1].Latest = []Winner{{42, "U1", "ada\x1b[2J"}, {41, "U2", ""}}
	samples[1].Progress.Name = strings.Repeat("long ", 30)
	samples[1].Lag = Lag{Entries: 3}
	samples[2].Lag = Lag{Beat: 20 * time.Second}
	samples[2].Problem = "redis: ping: connection refused"
	for _, s := range samples {
		if err := screen.Show(s); err != nil {
			t.Fatal(err)
		}
	}
	got := strings.ReplaceAll(out.String(), "\x1b", "<ESC>")
	const golden = "testdata/screen.golden"
	if os.Getenv("EARLYBIRD_UPDATE") == "1" {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("%v\ngot\n%s\nwant\n%s", err, got, want)
	}
}

// TestRehearsal: a rehearsal is shown as one in every form.
func TestRehearsal(t *testing.T) {
	s := sample(1, 0)
	s.Progress.Rehearsal = true
	for name, want := range map[string]string{
		"screen": "Campaign 1  Launch  active  a rehearsal", "table": "campaign 1 (rehearsal) active:", "csv": ",true\n", "json": `"rehearsal":true`,
	} {
		var out bytes.Buffer
		var view View = NewLog(&out, output.Format(name))
		if name == "screen" {
			view = &Screen{W: &out}
		}
		if err := view.Show(s); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v, no %q in\n%s", name, err, want, &out)
		}
	}
}

func TestLog(t *testing.T) {
	foreign := sample(1, 0)
	foreign.Lag = Lag{Problem: "it belongs to another database", Beat: -1}
	faster := sample(1, 0)
	faster.Rate = 99
	samples := []Sample{sample(0, 0), sample(0, 0), sample(1, 0), faster, foreign}
	for _, tt := range []struct {
		format output.Format
		want   string
	}{
		{output.Table, `2026-11-22T12:00:00Z campaign 1 active: 0 of 100 granted, 100 remaining, 0 waiting, 2.5 logins/s
2026-11-22T12:00:00Z campaign 1 active: 1 of 100 granted, 99 remaining, 0 waiting, 2.5 logins/s, latest #1 ada
2026-11-22T12:00:00Z campaign 1 active: 1 of 100 granted, 99 remaining, 0 waiting, 2.5 logins/s, latest #1 ada (Redis: it belongs to another database)
`},
		{output.CSV, `at,id,name,discount,slots,granted,remaining,waiting,status,starts_at,ends_at,rate,lag,beat_age,problem,rehearsal
2026-11-22T12:00:00Z,1,Launch,30,100,0,100,0,active,,,2.5,0,0,,false
2026-11-22T12:00:00Z,1,Launch,30,100,1,99,0,active,,,2.5,0,0,,false
2026-11-22T12:00:00Z,1,Launch,30,100,1,99,0,active,,,2.5,0,,Redis: it belongs to another database,false
`},
		{output.JSON, `{"at":"2026-11-22T12:00:00Z","id":"1","name":"Launch","discount":30,"slots":100,"granted":0,"remaining":100,"waiting":0,"status":"active","starts_at":null,"ends_at":null,"rate":2.5,"lag":0,"beat_age":0,"problem":"","rehearsal":false,"latest":[]}
{"at":"2026-11-22T12:00:00Z","id":"1","name":"Launch","discount":30,"slots":100,"granted":1,"remaining":99,"waiting":0,"status":"active","starts_at":null,"ends_at":null,"rate":2.5,"lag":0,"beat_age":0,"problem":"","rehearsal":false,"latest":[{"rank":1,"user_id":"U1","username":"ada"}]}
{"at":"2026-11-22T12:00:00Z","id":"1","name":"Launch","discount":30,"slots":100,"granted":1,"remaining":99,"waiting":0,"status":"active","starts_at":null,"ends_at":null,"rate":2.5,"lag":0,"beat_age":null,"problem":"Redis: it belongs to another database","rehearsal":false,"latest":[{"rank":1,"user_id":"U1","username":"ada"}]}
`},
	} {
		t.Run(string(tt.format), func(t *testing.T) {
			var out bytes.Buffer
			log := NewLog(&out, tt.format)
			for _, s := range samples {
				if err := log.Show(s); err != nil {
					t.Fatal(err)
				}
			}
			if out.String() != tt.want {
				t.Errorf("got\n%s\nwant\n%s", &out, tt.want)
			}
		})
	}
}
