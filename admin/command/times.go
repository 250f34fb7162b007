package command

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // zones are known in an image without files too

	"github.com/urfave/cli/v2"
)

func zoneFlag() cli.Flag {
	return &cli.StringFlag{Name: "tz", Usage: "`ZONE` of times without one, such as Europe/Berlin"}
}

var (
	// rfc3339 is the grammar of RFC 3339, section 5.6, without the leap second.
	// time.Parse takes more.
	rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$`)
	local   = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$`)
)

// timeFlag reads a flag that holds a time, in the zone in which the person
// thinks: that of --tz, or this machine's. It is zero when the flag is not
// given.
func timeFlag(c *cli.Context, name string) (time.Time, error) {
	if !c.IsSet(name) {
		return time.Time{}, nil
	}
	zone := time.Local //nolint:gosmopolitan // the person's own
	if c.IsSet("tz") {
		var err error
		if zone, err = time.LoadLocation(c.String("tz")); err != nil || c.String("tz") == "" || c.String("tz") == "Local" {
			return time.Time{}, fmt.Errorf("--tz: %q is not a time zone; use a name such as Europe/Berlin", c.String("tz"))
		}
	}
	at, err := parseTime(c.String(name), time.Now(), zone, c.IsSet("tz"))
	if err != nil {
		return time.Time{}, fmt.Errorf("--%s: %w", name, err)
	}
	return at.In(zone), nil
}

// parseTime reads a time: as RFC 3339 has it, "now", from now on as in "+2h", or
// by the clocks of a zone, if one was given.
func parseTime(text string, now time.Time, zone *time.Location, zoned bool) (time.Time, error) {
	switch {
	case text == "now":
		return now, nil
	case strings.HasPrefix(text, "+"):
		after, err := time.ParseDuration(text[1:])
		if err != nil || after < 0 {
			return time.Time{}, fmt.Errorf("%q is not a time from now; write +30m, +2h or +36h", text)
		}
		return now.Add(after), nil
	case local.MatchString(text) && zoned:
		return wallClock(text, zone)
	case local.MatchString(text):
		return time.Time{}, fmt.Errorf("%q does not say in which zone: add Z or an offset such as +01:00, or give --tz Europe/Berlin", text)
	}
	at, err := time.Parse(time.RFC3339, strings.ToUpper(text))
	if err != nil || at.IsZero() || !rfc3339.MatchString(text) { // the zero time would mean that none was given
		return time.Time{}, fmt.Errorf("%q is not a time: write it as RFC 3339 does, 2126-12-24T18:00:00+01:00, or 2126-12-24T18:00 with --tz, or now, or +2h", text)
	}
	return at, nil
}

// wallClock is when the clocks of a zone show this time. In the hour in which
// clocks are changed they may show it twice, or never.
func wallClock(text string, zone *time.Location) (time.Time, error) {
	layout := "2006-01-02T15:04:05"[:len(text)]
	text = strings.ToUpper(strings.Replace(text, " ", "T", 1))
	utc, err := time.Parse(layout, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a day of the calendar", text)
	}
	var readings, shown []time.Time
	for _, around := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := utc.Add(around).In(zone).Zone()
		at := utc.Add(-time.Duration(offset) * time.Second).In(zone)
		if slices.ContainsFunc(readings, at.Equal) {
			continue
		}
		readings = append(readings, at)
		if at.Format(layout) == text {
			shown = append(shown, at)
		}
	}
	if len(shown) == 1 {
		return shown[0], nil
	}
	what := "exists twice"
	if len(shown) == 0 {
		what = "does not exist"
	}
	return time.Time{}, fmt.Errorf("%s in %s %s, because the clocks are changed: write %s or %s", text, zone, what,
		readings[0].Format(time.RFC3339), readings[1].Format(time.RFC3339))
}

// echoed is a time as the person's clock shows it, and in UTC.
func echoed(at time.Time) string {
	own, utc := at.Format(time.RFC3339), at.UTC().Format(time.RFC3339)
	if own == utc {
		return utc
	}
	return fmt.Sprintf("%s (%s)", own, utc)
}
