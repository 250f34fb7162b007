// Package page shows a campaign in a browser: live, on a page for the room on
// launch day, and afterwards as a report in one file.
package page

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"
	"sync"
	"time"

	"github.com/earlybird/earlybird/admin/chart"
	"github.com/earlybird/earlybird/admin/doctor"
	"github.com/earlybird/earlybird/admin/watch"
)

//go:embed files
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"clock": clock, "stamp": stamp, "precise": precise,
}).ParseFS(files, "files/*.tmpl"))

// Page is the live page. It is a watch.View: each Show gives all browsers the
// whole state anew. It can only be read. Use New; it is safe for concurrent use.
type Page struct {
	token string

	mu      sync.Mutex
	state   state
	number  int    // of the state
	event   []byte // the state as a server-sent event; nil: nothing was shown yet
	changed chan struct{}
}

// New returns a Page. Without a token it answers only to names of this machine;
// with one, to every name, and only below /TOKEN/.
func New(token string) *Page { return &Page{token: token, changed: make(chan struct{})} }

// state is what the page shows. Its templates make the first page and every
// event.
type state struct {
	watch.Sample
	Minutes, Seconds template.HTML // the plots
	CurrentAt        time.Time     // of what is shown; before At when the last look failed
	Checks           []doctor.Result
	CheckedAt        time.Time // zero: not yet
}

// Show implements watch.View.
func (p *Page) Show(s watch.Sample) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.state
	next.Sample = s
	if s.Problem == "" {
		next.CurrentAt = s.At
		next.Minutes, next.Seconds = plots(s)
	}
	return p.publish(next)
}

// Checked takes what the doctor found.
func (p *Page) Checked(results []doctor.Result, at time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.state
	next.Checks, next.CheckedAt = results, at
	if p.event == nil {
		p.state = next // to be shown with the first sample
		return nil
	}
	return p.publish(next)
}

// parts are the templates that a browser replaces, each in the element of this id.
var parts = []string{"heading", "status", "numbers", "latest", "plots", "faults", "checks", "current"}

// publish makes the event that every browser gets. p.mu is held.
func (p *Page) publish(s state) error {
	message := struct {
		Title   string            `json:"title"`
		Granted int64             `json:"granted"`
		Slots   int64             `json:"slots"`
		Said    string            `json:"said"`
		Parts   map[string]string `json:"parts"`
	}{s.Title(), s.Progress.Granted, s.Progress.Slots, s.Said(), map[string]string{}}
	for _, name := range parts {
		var b strings.Builder
		if err := templates.ExecuteTemplate(&b, name, s); err != nil {
			return err
		}
		message.Parts[name] = b.String()
	}
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	p.number++
	p.state = s
	p.event = fmt.Appendf(nil, "id: %d\nretry: 1000\ndata: %s\n\n", p.number, data)
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

// latest returns the event of the present state, nil if there is none yet, the
// state itself, and what is closed when there is a newer one.
func (p *Page) latest() (event []byte, s state, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.event, p.state, p.changed
}

// Title is the document's title.
func (s state) Title() string {
	return fmt.Sprintf("%d of %d · %s", s.Progress.Granted, s.Progress.Slots, s.Progress.Name)
}

// Said is the progress in words.
func (s state) Said() string {
	return fmt.Sprintf("%d of %d granted", s.Progress.Granted, s.Progress.Slots)
}

// Scheduled reports whether the start is still to come.
func (s state) Scheduled() bool { return s.Progress.Status == "scheduled" }

// Countdown is the time until the start: 1:02:03.
func (s state) Countdown() string {
	left := max(0, s.Progress.StartsAt.Sub(s.At)+time.Second-1).Truncate(time.Second) // 0:00:00 only when it is due
	return fmt.Sprintf("%d:%02d:%02d", int(left.Hours()), int(left.Minutes())%60, int(left.Seconds())%60)
}

// Standing is how the campaign stands, in a sentence that changes only when
// something of weight happens: screen readers say it aloud.
func (s state) Standing() string {
	p := s.Progress
	switch {
	case s.Scheduled():
		return "It has not started: logins do not count yet."
	case p.Status == "paused":
		return fmt.Sprintf("Paused since %s: logins do not count.", clock(s.Since))
	case p.Status == "ended" && s.OpenedAt.IsZero():
		return "It was canceled before its start."
	case p.Status == "ended":
		return fmt.Sprintf("Ended at %s: no new grants.", stamp(s.Since))
	case !s.FullAt.IsZero():
		return fmt.Sprintf("Full: all %d slots are taken.", p.Slots)
	default:
		return "Running: logins count."
	}
}

// Verdict says whether everything is well. Its Level is that of a check, or empty
// while nothing was checked.
func (s state) Verdict() (v struct{ Level, Text string }) {
	failed, warned := 0, 0
	for _, r := range s.Checks {
		switch r.Level() {
		case "failed":
			failed++
		case "warning":
			warned++
		}
	}
	switch {
	case s.Note() != "":
		v.Level, v.Text = "failed", s.Note()
	case s.CheckedAt.IsZero():
		v.Text = "Checking whether everything is well."
	case failed > 0:
		v.Level, v.Text = "failed", fmt.Sprintf("Not everything is well: %d of %d checks failed.", failed, len(s.Checks))
	case warned > 0:
		v.Level, v.Text = "warning", fmt.Sprintf("Everything works; %d of %d checks warn.", warned, len(s.Checks))
	default:
		v.Level, v.Text = "ok", "Everything is well."
	}
	return v
}

// Faults are the checks that are not ok.
func (s state) Faults() []doctor.Result {
	var all []doctor.Result
	for _, r := range s.Checks {
		if r.Level() != "ok" {
			all = append(all, r)
		}
	}
	return all
}

// Well is how many checks are ok.
func (s state) Well() int { return len(s.Checks) - len(s.Faults()) }

// TimeToFull is how long it took from the start until all slots were granted, or
// how long it will take at the present rate.
func (s state) TimeToFull() string {
	switch {
	case !s.FullAt.IsZero():
		return lasting(s.FullAt.Sub(s.OpenedAt))
	case s.Progress.Status == "active" && s.Rate > 0:
		left := time.Duration(float64(s.Progress.Remaining) / s.Rate * float64(time.Second))
		if left < 10*time.Second {
			return "a few seconds"
		}
		return "about " + lasting(left)
	default:
		return "–"
	}
}

// firstMinutes is the time that is plotted by the second.
const firstMinutes = 5 * time.Minute

// plots draws the arrivals a minute, and those a second in the first minutes.
func plots(s watch.Sample) (minutes, seconds template.HTML) {
	if s.OpenedAt.IsZero() || s.Arrivals == nil {
		return "", ""
	}
	until := s.OpenedAt
	for at := range s.Arrivals {
		until = at
	}
	if s.Progress.Status == "active" && s.Progress.Remaining > 0 {
		until = s.At // nobody comes is news as long as there are slots left
	}
	first, shortest := s.OpenedAt.Truncate(time.Second), time.Minute
	if until.Sub(first) > shortest {
		shortest = firstMinutes
	}
	p := chart.Plot{ID: "seconds", Title: "Arrivals a second in the first five minutes", Unit: "a second"}
	seconds = arrivals(p, time.Second, time.Second, first, first.Add(shortest-1), s.Arrivals)
	return arrivalsAMinute(s.OpenedAt, until, s.Arrivals), seconds
}

// file is one of the page's files.
func file(name string) string {
	text, err := files.ReadFile("files/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

// style is the style sheet of this name, after what all documents share.
func style(name string) string { return file("base.css") + chart.CSS + file(name) }

// clock is a time of day in UTC.
func clock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }

// stamp is a time in UTC, as RFC 3339 writes it, with a space.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// precise is stamp with milliseconds.
func precise(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }

// lasting is a duration in the two units that matter: 2 min 31 s.
func lasting(d time.Duration) string {
	const day = 24 * time.Hour
	units := []struct {
		name string
		each time.Duration
	}{{"d", day}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}}
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", max(0, d).Seconds())
	}
	for i, u := range units[:3] {
		if d >= u.each {
			return fmt.Sprintf("%d %s %d %s", d/u.each, u.name, d%u.each/units[i+1].each, units[i+1].name)
		}
	}
	return fmt.Sprintf("%d s", d/time.Second)
}
