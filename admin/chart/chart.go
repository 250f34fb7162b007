// Package chart draws plots over time as SVG, for pages that run no script: Bars,
// Steps (a curve that grows) and Lines (such as percentiles).
//
// A caller gives a Plot, which says what is plotted, and points in the order of
// their times. It puts the returned markup into a html/template as it is, and CSS,
// once, into the document's style sheet: the plots then follow the reader's
// choice of light or dark, and print in black on white. The markup holds no style
// attributes, so that a strict Content-Security-Policy allows it. Text is escaped.
// Times are shown in UTC.
package chart

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

// Plot says what is plotted.
type Plot struct {
	ID    string // of the element; unique in its document
	Title string // what is plotted, such as "Arrivals a minute"; for screen readers
	Desc  string // what the plot shows, in a sentence or two, for those who cannot see it
	Unit  string // of the values, such as "a minute"; shown above the vertical axis

	From, Until time.Time // the horizontal axis; zero: as far as the points go. What is beyond is drawn at its end

	Level     float64 // a dashed line across, such as the number of slots; 0: none
	LevelName string  // what it is
}

// Point is a value at a time. A value that is not a number interrupts a line.
type Point struct {
	At    time.Time
	Value float64
}

// Series is one of several lines.
type Series struct {
	Name   string
	Points []Point
}

// CSS is the style of all plots. Its colours are variables, --chart-1 to
// --chart-4, that a document may set otherwise.
//
//go:embed chart.css
var CSS string

// The drawing, in its own units: it is as wide as its place in the document.
const (
	width, height            = 800, 280
	left, right, top, bottom = 70, 40, 34, 48
)

// Bars draws one bar for each point, from its time on for each.
func Bars(p Plot, each time.Duration, points []Point) template.HTML {
	d := newDrawing(p, each, Series{Points: points})
	for _, at := range points {
		if !finite(at.Value) || at.Value <= 0 {
			continue
		}
		x := d.x(at.At)
		// Bars are told apart by a gap, unless they are too thin for one.
		w := d.x(at.At.Add(each)) - x
		if w > 3 {
			w--
		}
		y := d.y(at.Value)
		d.Bars = append(d.Bars, box{decimal(x), decimal(y), decimal(max(w, 0.5)), decimal(height - bottom - y)})
	}
	return d.draw()
}

// Steps draws a curve that keeps each value until the next point, and the last
// one until the end. However many points there are, it draws no more than can be
// told apart.
func Steps(p Plot, points []Point) template.HTML {
	d := newDrawing(p, 0, Series{Points: points})
	var path strings.Builder
	for i, at := range points {
		x, y := d.x(at.At), d.y(at.Value)
		if i == 0 {
			fmt.Fprintf(&path, "M%s %s", decimal(x), decimal(y))
			continue
		}
		if i+1 < len(points) && int(2*d.x(points[i+1].At)) == int(2*x) {
			continue // the next point is drawn at the same place
		}
		fmt.Fprintf(&path, "H%sV%s", decimal(x), decimal(y))
	}
	if len(points) > 0 {
		fmt.Fprintf(&path, "H%d", width-right)
		d.Lines = append(d.Lines, line{Class: "c1", Path: path.String()})
	}
	return d.draw()
}

// Lines draws up to four lines, with their names above them.
func Lines(p Plot, series ...Series) template.HTML {
	d := newDrawing(p, 0, series...)
	const sample, gap = 28, 24 // of the legend
	at := width - right
	for i := len(series) - 1; i >= 0; i-- { // from the right
		at -= textWidth(series[i].Name) + gap
		l := line{Class: "c" + strconv.Itoa(i%4+1), Name: series[i].Name, NameX: at, SampleX: at - sample - 4, SampleEnd: at - 4}
		at = l.SampleX
		var path strings.Builder
		move := true
		for _, point := range series[i].Points {
			if !finite(point.Value) {
				move = true
				continue
			}
			command := "L"
			if move {
				command = "M"
			}
			move = false
			fmt.Fprintf(&path, "%s%s %s", command, decimal(d.x(point.At)), decimal(d.y(point.Value)))
		}
		l.Path = path.String()
		d.Lines = append(d.Lines, l)
	}
	return d.draw()
}

// drawing is what the template draws.
type drawing struct {
	Plot
	Width, Height            int
	Left, Right, Top, Bottom int // the edges of the plot in it
	XTicks, YTicks           []tick
	Date                     string // below the horizontal axis
	Bars                     []box
	Lines                    []line
	LevelY                   string
	Empty                    bool

	highest float64
}

type tick struct{ At, Label string }

type box struct{ X, Y, W, H string }

type line struct {
	Class, Path, Name         string
	NameX, SampleX, SampleEnd int
}

func newDrawing(p Plot, each time.Duration, series ...Series) *drawing {
	d := &drawing{Plot: p, Width: width, Height: height, Left: left, Right: width - right, Top: top, Bottom: height - bottom, Empty: true}
	d.highest = d.Level
	for _, s := range series {
		for _, at := range s.Points {
			if p.From.IsZero() && (d.Empty || at.At.Before(d.From)) {
				d.From = at.At
			}
			if end := at.At.Add(each); p.Until.IsZero() && end.After(d.Until) {
				d.Until = end
			}
			if finite(at.Value) {
				d.highest = max(d.highest, at.Value)
			}
			d.Empty = false
		}
	}
	if !d.Until.After(d.From) {
		d.Until = d.From.Add(time.Second)
	}
	step := niceStep(d.highest)
	d.highest = step * max(1, math.Ceil(d.highest/step))
	for v := 0.0; v <= d.highest+step/2; v += step {
		d.YTicks = append(d.YTicks, tick{decimal(d.y(v)), short(v)})
	}
	if d.Level > 0 {
		d.LevelY = decimal(d.y(d.Level))
	}
	if !d.Empty || !p.From.IsZero() {
		d.timeAxis()
	}
	return d
}

// steps are the distances between the marks of a horizontal axis.
var steps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
}

const day = 24 * time.Hour

// timeAxis marks round times, with at most five spans between them.
func (d *drawing) timeAxis() {
	const most = 5
	span := d.Until.Sub(d.From)
	step := day * max(1, (span/most+day-1)/day)
	for _, s := range steps {
		if span <= most*s {
			step = s
			break
		}
	}
	layout := "2 Jan"
	switch {
	case step < time.Minute:
		layout = "15:04:05"
	case step < day:
		layout = "15:04"
	}
	at := d.From.UTC().Truncate(step)
	if at.Before(d.From) {
		at = at.Add(step)
	}
	for ; !at.After(d.Until); at = at.Add(step) {
		d.XTicks = append(d.XTicks, tick{decimal(d.x(at)), at.Format(layout)})
	}
	const date = "2 January 2006"
	d.Date = d.From.UTC().Format(date)
	if until := d.Until.UTC().Format(date); until != d.Date {
		d.Date += " to " + until
	}
	d.Date += ", UTC"
}

func (d *drawing) x(at time.Time) float64 {
	part := float64(at.Sub(d.From)) / float64(d.Until.Sub(d.From))
	return left + min(max(part, 0), 1)*(width-left-right)
}

func (d *drawing) y(value float64) float64 {
	return height - bottom - min(max(value/d.highest, 0), 1)*(height-top-bottom)
}

// niceStep is 1, 2 or 5 times a power of ten, so that at most five steps reach
// the highest value.
func niceStep(highest float64) float64 {
	if highest <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(highest/5)))
	for _, n := range []float64{1, 2, 5} {
		if 5*n*power >= highest {
			return n * power
		}
	}
	return 10 * power
}

// short writes a value in a few characters: 20k for 20,000.
func short(v float64) string {
	for _, unit := range []struct {
		value float64
		name  string
	}{{1e6, "M"}, {1e3, "k"}} {
		if v >= unit.value {
			return strconv.FormatFloat(math.Round(v/unit.value*100)/100, 'f', -1, 64) + unit.name
		}
	}
	return strconv.FormatFloat(math.Round(v*1e6)/1e6, 'f', -1, 64)
}

// textWidth is about how wide a text is in the legend.
func textWidth(s string) int { return 9 * len([]rune(s)) }

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func decimal(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

//go:embed chart.svg.tmpl
var markup string

var svg = template.Must(template.New("chart").Parse(markup))

func (d *drawing) draw() template.HTML {
	var b strings.Builder
	if err := svg.Execute(&b, d); err != nil {
		panic(err) // the template and its data are all of this package
	}
	return template.HTML(b.String()) //nolint:gosec // html/template escaped it
}
