// Package days reads and writes long durations as settings have them, in days.
package days

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of a duration.
const (
	Least = time.Hour
	Most  = 3650 * day

	day = 24 * time.Hour
)

// Parse reads a duration of Least to Most: in days, such as 90d, or as
// time.ParseDuration does.
func Parse(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if number, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		n, err = strconv.Atoi(number)
		n = max(min(n, 1<<16), 0)
		d = time.Duration(n) * day
	}
	if err != nil || d < Least || d > Most {
		return 0, errors.New("must be a duration from 1h to 3650d, such as 90d")
	}
	return d, nil
}

// Format writes a duration as Parse reads it, in days where it is whole days.
func Format(d time.Duration) string {
	if d > 0 && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}
