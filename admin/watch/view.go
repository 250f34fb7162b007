package watch

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/earlybird/earlybird/admin/output"
)

// Screen draws on a terminal, each time over what it drew before.
type Screen struct {
	W     io.Writer
	drawn int // lines of the last picture
}

// Show implements View.
func (v *Screen) Show(s Sample) error {
	lines := picture(s)
	var out strings.Builder
	if v.drawn > 0 {
		out.WriteString(text.CursorUp.Sprintn(v.drawn))
	}
	for range max(0, v.drawn-len(lines)) {
		lines = append(lines, "") // what was longer before is wiped
	}
	for _, line := range lines {
		out.WriteString(line + text.EraseLine.Sprint() + "\n")
	}
	v.drawn = len(lines)
	_, err := io.WriteString(v.W, out.String())
	return err
}

const (
	barWidth  = 50
	nameWidth = 40
)

// picture is what a terminal shows, no line wider than 80.
func picture(s Sample) []string {
	p := s.Progress
	offer := fmt.Sprintf("%d %% off", p.Discount)
	if p.Rehearsal {
		offer = "a rehearsal"
	}
	lines := []string{
		fmt.Sprintf("Campaign %s  %s  %s  %s", p.ID, brief(p.Name), p.Status, offer),
		fmt.Sprintf("%s %3d %%", bar(p), percent(p)),
		fmt.Sprintf("%d of %d granted   %d remaining   %d waiting   %.1f logins/s", p.Granted, p.Slots, p.Remaining, p.Waiting, s.Rate),
		s.Lag.line(),
	}
	lines = append(lines, times(p, s.At)...)
	for _, w := range s.Latest {
		lines = append(lines, fmt.Sprintf("  #%-8d %s", w.Rank, brief(w.name())))
	}
	if note := s.Note(); note != "" {
		lines = append(lines, text.Snip("! "+note, 80, "…"))
	}
	return append(lines, "Ctrl-C stops watching, not the campaign.")
}

// times says when the campaign starts or ends, if that is still to come.
func times(p Progress, now time.Time) []string {
	var lines []string
	for _, t := range []struct {
		verb string
		at   time.Time
	}{{"starts", p.StartsAt}, {"ends", p.EndsAt}} {
		if t.at.After(now) {
			lines = append(lines, fmt.Sprintf("%s %s, in %s", t.verb, t.at.UTC().Format(time.RFC3339), t.at.Sub(now).Round(time.Second)))
		}
	}
	return lines
}

func percent(p Progress) int64 {
	if p.Slots < 1 {
		return 0
	}
	return 100 * p.Granted / p.Slots
}

func bar(p Progress) string {
	full := 0
	if p.Slots > 0 {
		full = int(barWidth * p.Granted / p.Slots)
	}
	full = min(full, barWidth)
	return "[" + strings.Repeat("█", full) + strings.Repeat("░", barWidth-full) + "]"
}

// brief is text that users or admins chose, made fit for a line.
func brief(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
	return text.Snip(s, nameWidth, "…")
}

func (w Winner) name() string {
	if w.Username == "" {
		return w.UserID
	}
	return w.Username
}

// staleBeat is after which time without a beat the gateways no longer trust
// Redis to say who holds no grant.
const staleBeat = 15 * time.Second

// line says how Redis is.
func (l Lag) line() string {
	switch {
	case l.Problem != "":
		return "Redis: " + l.Problem
	case l.Beat < 0:
		return "Redis: no identity service has found it complete yet"
	case l.Beat > staleBeat:
		return fmt.Sprintf("Redis: not found complete for %s: is an identity service running?", l.Beat.Round(time.Second))
	case l.Entries > 0:
		return fmt.Sprintf("Redis: behind by %d", l.Entries)
	default:
		return "Redis: has everything"
	}
}

// Note is what is not as it should be; empty: nothing.
func (s Sample) Note() string {
	switch {
	case s.Problem != "":
		return s.Problem
	case s.Lag.Problem != "":
		return "Redis: " + s.Lag.Problem
	default:
		return ""
	}
}

// Log writes a line whenever something other than the rate has changed.
type Log struct {
	format output.Format
	w      io.Writer
	list   output.Writer
	before string
}

// NewLog returns a Log that writes sentences, CSV, or JSON objects, a line
// each.
func NewLog(w io.Writer, f output.Format) *Log {
	l := &Log{format: f, w: w}
	switch f {
	case output.JSON:
		l.list = output.Lines(w, append(logColumns(), output.Column{Name: "latest"})...)
	case output.CSV:
		l.list = output.List(w, f, logColumns()...)
	case output.Table:
	}
	return l
}

func logColumns() []output.Column {
	var all []output.Column
	for name := range strings.FieldsSeq("at id name discount slots granted remaining waiting status starts_at ends_at rate lag beat_age problem rehearsal") {
		all = append(all, output.Column{Name: name})
	}
	return all
}

// Show implements View.
func (l *Log) Show(s Sample) error {
	now := fmt.Sprint(s.Progress, s.Note())
	if now == l.before {
		return nil
	}
	l.before = now
	if l.list == nil {
		_, err := fmt.Fprintln(l.w, sentence(s))
		return err
	}
	if err := l.list.Row(s.values(l.format)...); err != nil {
		return err
	}
	if l.format == output.CSV { // a writer of CSV keeps rows until it is closed, and may go on afterwards
		return l.list.Close()
	}
	return nil
}

func (s Sample) values(f output.Format) []any {
	p := s.Progress
	values := []any{
		s.At, p.ID, p.Name, p.Discount, p.Slots, p.Granted, p.Remaining, p.Waiting,
		p.Status, p.StartsAt, p.EndsAt, math.Round(s.Rate*10) / 10, s.Lag.Entries, s.Lag.age(), s.Note(), p.Rehearsal,
	}
	if f != output.JSON {
		return values
	}
	latest := s.Latest
	if latest == nil {
		latest = []Winner{}
	}
	return append(values, latest)
}

// age is the beat's, in seconds; nil: there is none.
func (l Lag) age() any {
	if l.Beat < 0 {
		return nil
	}
	return math.Round(l.Beat.Seconds()*10) / 10
}

func sentence(s Sample) string {
	p := s.Progress
	id := p.ID
	if p.Rehearsal {
		id += " (rehearsal)"
	}
	line := fmt.Sprintf("%s campaign %s %s: %d of %d granted, %d remaining, %d waiting, %.1f logins/s",
		s.At.UTC().Format(time.RFC3339), id, p.Status, p.Granted, p.Slots, p.Remaining, p.Waiting, s.Rate)
	if len(s.Latest) > 0 {
		line += fmt.Sprintf(", latest #%d %s", s.Latest[0].Rank, brief(s.Latest[0].name()))
	}
	if s.Lag.Entries > 0 {
		line += fmt.Sprintf(", redis behind by %d", s.Lag.Entries)
	}
	if note := s.Note(); note != "" {
		line += " (" + note + ")"
	}
	return line
}
