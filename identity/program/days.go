package program

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	day = 24 * time.Hour

	leastDays = time.Hour
	mostDays  = 3650 * day
)

// ParseDays reads a duration from an hour to 3,650 days: in days, such as 90d, or as
// time.ParseDuration does.
func ParseDays(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if number, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		n, err = strconv.Atoi(number)
		n = max(min(n, 1<<16), 0)
		d = time.Duration(n) * day
	}
	if err != nil || d < leastDays || d > mostDays {
		return 0, errors.New("must be a duration from 1h to 3650d, such as 90d")
	}
	return d, nil
}

// FormatDays writes a duration as ParseDays reads it, in days where it is whole days.
func FormatDays(d time.Duration) string {
	if d > 0 && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}
