package page

import (
	"cmp"
	"fmt"
	"html/template"
	"iter"
	"time"

	"github.com/earlybird/earlybird/admin/chart"
)

// mostBars is how many bars a plot of arrivals has at most.
const mostBars = 360

// arrivalsAMinute plots the arrivals of a campaign a minute, ten minutes at least.
// Where that would be too many bars, each is the mean of several minutes.
func arrivalsAMinute(opened, until time.Time, all iter.Seq2[time.Time, int64]) template.HTML {
	if least := opened.Truncate(time.Minute).Add(10*time.Minute - 1); until.Before(least) {
		until = least
	}
	each, unit := time.Minute, "a minute"
	for _, wider := range []time.Duration{5, 10, 30, 60, 120, 360, 720, 1440, 7 * 1440} {
		if until.Sub(opened)/each < mostBars {
			break
		}
		each = wider * time.Minute
		unit = fmt.Sprintf("a minute, mean of %d minutes", wider)
	}
	p := chart.Plot{ID: "minutes", Title: "Arrivals a minute", Unit: unit}
	return arrivals(p, each, time.Minute, opened.Truncate(each), until, all)
}

// arrivals plots how many users took places in each span of time, from one time
// until another, as a rate.
func arrivals(p chart.Plot, each, rate time.Duration, from, until time.Time, all iter.Seq2[time.Time, int64]) template.HTML {
	var bars []chart.Point
	total := int64(0)
	for at, n := range all {
		if at.After(until) {
			break
		}
		total += n
		at = from.Add(max(0, at.Sub(from)).Truncate(each))
		if len(bars) == 0 || !bars[len(bars)-1].At.Equal(at) {
			bars = append(bars, chart.Point{At: at})
		}
		bars[len(bars)-1].Value += float64(n) * float64(rate) / float64(each)
	}
	p.From, p.Until = from, from.Add(until.Sub(from).Truncate(each)+each)
	p.Desc = fmt.Sprintf("%d arrivals.", total)
	if total > 0 {
		most := bars[0]
		for _, bar := range bars {
			if cmp.Compare(bar.Value, most.Value) > 0 {
				most = bar
			}
		}
		p.Desc += fmt.Sprintf(" The most were %.4g %s, at %s.", most.Value, p.Unit, stamp(most.At))
	}
	return chart.Bars(p, each, bars)
}
