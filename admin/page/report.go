package page

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/earlybird/earlybird/admin/chart"
	"github.com/earlybird/earlybird/identity/campaign"
)

// Report is what is known of one campaign at a moment. All fields are required.
type Report struct {
	Fold   *campaign.Fold
	MadeAt time.Time
	By     string // who made it

	LogSHA256  string             // of what `campaign export --log` writes, in hexadecimal
	Mirror     string             // how Redis compared, as the audit says it
	Findings   []campaign.Finding // of the audit
	TurnedAway int64              // users who logged in between start and end, and hold no place
	Reasons    map[string]string  // for disqualifying and reinstating, by the `_id` of the entry

	// Names looks up usernames by user ids. Accounts that are gone have none.
	Names func(ids []string) (map[string]string, error)
}

// Write writes the report as one HTML document, however many winners there are:
// without scripts, and with nothing to load.
func (r Report) Write(w io.Writer) error {
	v := &reportView{Report: r, Settings: r.Fold.Settings(), Progress: newCourse(r.Fold)}
	if err := v.decide(); err != nil {
		return err
	}
	return errors.Join(templates.ExecuteTemplate(w, "report.html.tmpl", v), v.err)
}

// reportView is what the report's template shows.
type reportView struct {
	Report
	Settings  campaign.Settings
	First     campaign.Settings // those that it was started with
	Decisions []decision
	Judged    []decision // those about one person
	Progress  course

	err error // of a look-up while winners were written
}

// decision is an entry of the log that is no arrival.
type decision struct {
	campaign.Entry
	What     string
	Username string // of whom it is about
	Position int64
	Reason   string
}

// course is how the campaign went.
type course struct {
	Curve    []chart.Point // how many were granted
	Full     []time.Time   // when the last free slot was granted, each time
	Queued   int64         // came when all slots were taken, and got a place in line
	Promoted int64         // of these hold a grant now
	LastAt   time.Time     // the last arrival
}

func newCourse(f *campaign.Fold) course {
	var c course
	full := false
	for e, after := range f.Replay() {
		if granted := float64(after.Granted()); len(c.Curve) == 0 || c.Curve[len(c.Curve)-1].Value != granted {
			c.Curve = append(c.Curve, chart.Point{At: e.At, Value: granted})
		}
		now := after.Granted() == after.Settings().Slots
		if now && !full {
			c.Full = append(c.Full, e.At)
		}
		full = now
		if e.Kind != campaign.KindArrive {
			continue
		}
		c.LastAt = e.At
		for position := max(e.First, after.Limit()+1); position <= after.Last(); position++ {
			c.Queued++
			if _, ok := f.Grant(position); ok {
				c.Promoted++
			}
		}
	}
	return c
}

// decide says in words what was decided.
func (v *reportView) decide() error {
	all := v.Fold.Decisions()
	var about []string
	for _, e := range all {
		if e.User != "" {
			about = append(about, e.User)
		}
	}
	names, err := v.Names(about)
	if err != nil {
		return err
	}
	var settings campaign.Settings
	opened := false
	for _, e := range all {
		d := decision{Entry: e}
		opened = opened || e.Kind == campaign.KindOpen
		if e.User != "" {
			d.Username, d.Position, d.Reason = names[e.User], v.Fold.Position(e.User), v.Reasons[e.DocumentID()]
		}
		d.What = inWords(e, settings, opened)
		if e.Settings != nil {
			settings = *e.Settings
		}
		if e.Kind == campaign.KindStart {
			v.First = settings
		}
		v.Decisions = append(v.Decisions, d)
		if e.User != "" {
			v.Judged = append(v.Judged, d)
		}
	}
	return nil
}

// inWords is what an entry decided, when these were the settings before it.
func inWords(e campaign.Entry, before campaign.Settings, opened bool) string {
	switch e.Kind {
	case campaign.KindStart:
		return fmt.Sprintf("started with %d slots", e.Settings.Slots)
	case campaign.KindOpen:
		return "opened: logins count from here on"
	case campaign.KindChange:
		return changes(before, *e.Settings)
	case campaign.KindPause:
		return "paused: logins do not count"
	case campaign.KindResume:
		return "resumed: logins count again"
	case campaign.KindEnd:
		if !opened {
			return "cancelled before its start"
		}
		return "ended: no new grants"
	case campaign.KindVoid:
		return "disqualified"
	case campaign.KindReinstate:
		if e.Settings != nil {
			return fmt.Sprintf("reinstated, with one slot more: %d", e.Settings.Slots)
		}
		return "reinstated"
	case campaign.KindAccept:
		return fmt.Sprintf("gave up what only Redis had: up to %s, position %d", e.Lost.Place, e.Lost.Last)
	case campaign.KindArrive:
	}
	return string(e.Kind)
}

// changes names every setting that has changed.
func changes(before, after campaign.Settings) string {
	var all []string
	for _, c := range [][3]string{
		{"name", strconv.Quote(before.Name), strconv.Quote(after.Name)},
		{"description", strconv.Quote(before.Description), strconv.Quote(after.Description)},
		{"slots", fmt.Sprint(before.Slots), fmt.Sprint(after.Slots)},
		{"ends", ending(before), ending(after)},
	} {
		if c[1] != c[2] {
			all = append(all, fmt.Sprintf("%s: %s → %s", c[0], c[1], c[2]))
		}
	}
	return strings.Join(all, "; ")
}

func ending(s campaign.Settings) string {
	if s.EndsAt.IsZero() {
		return "by hand"
	}
	return stamp(s.EndsAt)
}

// setting is one line of the table of settings.
type setting struct{ Name, First, Last string }

// Table is the settings at the start and now.
func (v *reportView) Table() []setting {
	line := func(name string, of func(campaign.Settings) string) setting {
		return setting{name, of(v.First), of(v.Settings)}
	}
	return []setting{
		line("Name", func(s campaign.Settings) string { return s.Name }),
		line("Description", func(s campaign.Settings) string { return s.Description }),
		line("Discount", func(s campaign.Settings) string { return fmt.Sprintf("%d %%", s.Discount) }),
		line("Slots", func(s campaign.Settings) string { return fmt.Sprint(s.Slots) }),
		line("Places in line", func(s campaign.Settings) string { return fmt.Sprint(s.Waitlist) }),
		line("Start", func(s campaign.Settings) string { return stamp(s.StartsAt) }),
		line("End", ending),
	}
}

// Phase is how the campaign stands.
func (v *reportView) Phase() string {
	switch phase := v.Fold.Phase(); {
	case phase == campaign.PhaseEnded && !v.Fold.Opened():
		return "cancelled before its start"
	case phase == campaign.PhaseEnded:
		return "ended at " + stamp(v.Fold.Since())
	case phase == campaign.PhaseOpen:
		return "still running when this was written"
	default:
		return string(phase) + " when this was written"
	}
}

// TimeToFull is how long it took from the start until all slots were granted.
func (v *reportView) TimeToFull() string {
	if len(v.Progress.Full) == 0 {
		return "not all slots were granted"
	}
	text := fmt.Sprintf("%s (at %s)", lasting(v.Progress.Full[0].Sub(v.Fold.OpenedAt())), stamp(v.Progress.Full[0]))
	for _, again := range v.Progress.Full[1:] {
		text += "; after more slots, again at " + stamp(again)
	}
	return text
}

// Disqualified is how many places are voided now.
func (v *reportView) Disqualified() int64 {
	return v.Fold.Last() - v.Fold.Granted() - v.Fold.Waiting()
}

// Broken is how many findings prove a broken promise.
func (v *reportView) Broken() (n int) {
	for _, f := range v.Findings {
		if f.Breaks {
			n++
		}
	}
	return n
}

// mostFindings is how many findings are written out.
const mostFindings = 1000

// Written are the findings that are written out.
func (v *reportView) Written() []campaign.Finding {
	return v.Findings[:min(len(v.Findings), mostFindings)]
}

// Unwritten is how many are not.
func (v *reportView) Unwritten() int { return len(v.Findings) - len(v.Written()) }

// Minutes plots the arrivals a minute.
func (v *reportView) Minutes() template.HTML {
	return arrivalsAMinute(v.Fold.OpenedAt(), v.Progress.LastAt, v.Fold.Arrivals())
}

// Grants plots how many held a grant.
func (v *reportView) Grants() template.HTML {
	return chart.Steps(chart.Plot{
		ID: "grants", Title: "Grants", Unit: "granted",
		Desc: fmt.Sprintf("%d of %d slots are granted; full: %s.", v.Fold.Granted(), v.Settings.Slots, v.TimeToFull()),
		From: v.Fold.OpenedAt(), Level: float64(v.Settings.Slots), LevelName: fmt.Sprintf("%d slots", v.Settings.Slots),
	}, v.Progress.Curve)
}

// Entries is how many entries the log has.
func (v *reportView) Entries() int64 { return v.Fold.At().Seq + 1 }

// Style is the report's style sheet.
func (v *reportView) Style() template.CSS {
	return template.CSS(style("report.css")) //nolint:gosec // it is embedded
}

// winner is a row of the table of winners.
type winner struct {
	campaign.Grant
	Username string
}

// namesAtOnce is how many usernames are looked up before their rows are written.
const namesAtOnce = 500

// Winners yields who holds a grant, by rank, until a look-up fails.
func (v *reportView) Winners() iter.Seq[winner] {
	return func(yield func(winner) bool) {
		var batch []campaign.Grant
		last := min(v.Fold.Limit(), v.Fold.Last())
		for rank := int64(1); rank <= last; rank++ {
			if g, ok := v.Fold.Grant(rank); ok {
				batch = append(batch, g)
			}
			if len(batch) < namesAtOnce && rank < last {
				continue
			}
			ids := make([]string, len(batch))
			for i, g := range batch {
				ids[i] = g.UserID
			}
			names, err := v.Names(ids)
			if err != nil {
				v.err = err
				return
			}
			for _, g := range batch {
				if !yield(winner{g, names[g.UserID]}) {
					return
				}
			}
			batch = batch[:0]
		}
	}
}
