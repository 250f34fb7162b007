package chart

import (
	"encoding/xml"
	"errors"
	"html/template"
	"io"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(second int, value float64) Point {
	return Point{noon.Add(time.Duration(second) * time.Second), value}
}

// TestGolden: EARLYBIRD_UPDATE=1 replaces the golden files.
func TestGolden(t *testing.T) {
	for name, got := range map[string]template.HTML{
		"bars":  Bars(Plot{ID: "a", Title: "Arrivals a minute", Desc: "5 at most", Unit: "a minute"}, time.Minute, []Point{at(0, 5), at(60, 0), at(120, 3)}),
		"steps": Steps(Plot{ID: "s", Title: "Grants", Desc: "3 of 4", Level: 4, LevelName: "4 slots", Until: noon.Add(10 * time.Second)}, []Point{at(0, 0), at(2, 1), at(7, 3)}),
		"lines": Lines(Plot{ID: "l", Title: "<Times> & more", Desc: "p50, p99", Unit: "ms"},
			Series{"p50", []Point{at(0, 10), at(1, 12), at(2, math.NaN()), at(3, 11), at(4, 9)}}, Series{"p99", []Point{at(0, 90), at(4, 250)}}),
		"empty": Bars(Plot{ID: "e", Title: "Arrivals", Desc: "none yet", Unit: "a second"}, time.Second, nil),
	} {
		t.Run(name, func(t *testing.T) {
			wellFormed(t, got)
			golden := "testdata/" + name + ".svg"
			if os.Getenv("EARLYBIRD_UPDATE") == "1" {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || string(got) != string(want) {
				t.Errorf("%v\ngot\n%s\nwant\n%s", err, got, want)
			}
		})
	}
}

func wellFormed(t *testing.T, got template.HTML) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(string(got)))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, got)
		}
	}
	for _, never := range []string{"NaN", "Inf", "style=", "<script"} {
		if strings.Contains(string(got), never) {
			t.Errorf("%s in\n%s", never, got)
		}
	}
}

// TestManyPoints: a curve of 100,000 points is drawn with no more than can be
// told apart, and ends where the last one is.
func TestManyPoints(t *testing.T) {
	var points []Point
	for i := range 100_000 {
		points = append(points, Point{noon.Add(time.Duration(i) * time.Millisecond), float64(i + 1)})
	}
	got := Steps(Plot{ID: "s"}, points)
	wellFormed(t, got)
	if len(got) > 40_000 {
		t.Errorf("%d bytes", len(got))
	}
	if !strings.Contains(string(got), "V34H760") {
		t.Errorf("the curve does not end at the top: %s", got[len(got)-200:])
	}
}

// TestAxes: whatever the span and the values, the marks are few, round and inside.
func TestAxes(t *testing.T) {
	label := regexp.MustCompile(`<text class="([xy])"[^>]*>([^<]*)<`)
	for _, tt := range []struct {
		span    time.Duration
		highest float64
		x, y    string
	}{
		{time.Second, 1, "12:00:00 12:00:01", "0 0.2 0.4 0.6 0.8 1"},
		{45 * time.Second, 7, "12:00:00 12:00:10 12:00:20 12:00:30 12:00:40", "0 2 4 6 8"},
		{90 * time.Minute, 1234, "12:00 12:30 13:00 13:30", "0 500 1k 1.5k"},
		{30 * time.Hour, 100_000, "12:00 18:00 00:00 06:00 12:00 18:00", "0 20k 40k 60k 80k 100k"},
		{60 * 24 * time.Hour, 0.03, "25 Nov 7 Dec 19 Dec 31 Dec 12 Jan", "0 0.01 0.02 0.03"},
	} {
		got := map[string][]string{}
		for _, m := range label.FindAllStringSubmatch(string(Lines(Plot{ID: "l"}, Series{"a", []Point{{noon, 0}, {noon.Add(tt.span), tt.highest}}})), -1) {
			got[m[1]] = append(got[m[1]], m[2])
		}
		if x, y := strings.Join(got["x"], " "), strings.Join(got["y"], " "); x != tt.x || y != tt.y {
			t.Errorf("%s up to %v:\ngot  %s | %s\nwant %s | %s", tt.span, tt.highest, x, y, tt.x, tt.y)
		}
	}
}
