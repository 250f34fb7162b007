package rehearse

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/earlybird/earlybird/admin/chart"
)

//go:embed report.html.tmpl
var page string

var pages = template.Must(template.New("report").Funcs(template.FuncMap{"span": span}).Parse(page))

// Came says how the users came.
func (r Report) Came() string {
	if r.Rate == 0 {
		return "all at one moment"
	}
	return fmt.Sprintf("%.4g a second", r.Rate)
}

// HTML writes the report as one page that needs no other file and no script.
func (r Report) HTML(w io.Writer) error {
	lines := func(id, title, desc, unit string, series ...chart.Series) template.HTML {
		return chart.Lines(chart.Plot{ID: id, Title: title, Desc: desc, Unit: unit, From: r.At}, series...)
	}
	granted := []chart.Point{{At: r.At}}
	for i, at := range r.grants {
		granted = append(granted, chart.Point{At: at, Value: float64(i + 1)})
	}
	return pages.Execute(w, struct {
		Report
		CSS                              template.CSS
		Rates, Refusals, Answers, Grants template.HTML
	}{
		r, template.CSS(chart.CSS), //nolint:gosec // a constant of this program
		lines("logins", "Users who came and logins that were answered", fmt.Sprintf("%d users came, %d were logged in within %s.", r.Users, r.Done, span(r.Lasted)), "a second",
			chart.Series{Name: "users who came", Points: r.points(func(b Bin) float64 { return b.Due })},
			chart.Series{Name: "logins", Points: r.points(func(b Bin) float64 { return b.Logins })}),
		lines("refusals", "Answers other than a login", fmt.Sprintf("%d answers of 429, %d of 503, %d others or none.", r.Limited, r.Busy, r.Failed), "a second",
			chart.Series{Name: "429", Points: r.points(func(b Bin) float64 { return b.Limited })},
			chart.Series{Name: "503", Points: r.points(func(b Bin) float64 { return b.Busy })},
			chart.Series{Name: "other or none", Points: r.points(func(b Bin) float64 { return b.Failed })}),
		lines("answers", "How long logins took", fmt.Sprintf("Half took at most %s, 99 %% at most %s.", span(r.Login.P50), span(r.Login.P99)), "seconds",
			chart.Series{Name: "p50", Points: r.points(func(b Bin) float64 { return taken(b, b.P50) })},
			chart.Series{Name: "p99", Points: r.points(func(b Bin) float64 { return taken(b, b.P99) })}),
		chart.Steps(chart.Plot{
			ID: "grants", Title: "Users who were told of a slot", Desc: fmt.Sprintf("%d of %d slots were granted.", r.Granted, r.Slots), Unit: "users",
			From: r.At, Level: float64(r.Slots), LevelName: fmt.Sprintf("%d slots", r.Slots),
		}, granted),
	})
}

// points are one value of every bin, at its middle.
func (r Report) points(of func(Bin) float64) []chart.Point {
	points := make([]chart.Point, len(r.OverTime))
	for i, b := range r.OverTime {
		points[i] = chart.Point{At: r.At.Add(time.Duration(b.Second*float64(time.Second)) + r.width/2), Value: of(b)}
	}
	return points
}

// taken interrupts the line where there were no logins.
func taken(b Bin, value float64) float64 {
	if b.Logins == 0 {
		return math.NaN()
	}
	return value
}

// ToldText lists what users were told in the end, the most frequent first.
func (r Report) ToldText() string {
	whats := slices.SortedFunc(maps.Keys(r.Told), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.Told[b], r.Told[a]), cmp.Compare(a, b))
	})
	parts := make([]string, len(whats))
	for i, what := range whats {
		parts[i] = fmt.Sprintf("%d %s", r.Told[what], what)
	}
	return strings.Join(parts, ", ")
}
