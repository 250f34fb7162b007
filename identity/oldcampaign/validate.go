package campaign

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of a campaign's settings.
const (
	DefaultWaitlist = 10_000
	MaxSlots        = 1_000_000
	MaxWaitlist     = 1_000_000
	maxName         = 100 // characters
	maxDescription  = 1000
)

// InvalidError names what of a command was refused, and what is allowed.
type InvalidError struct {
	Field  string // as in the command: name, slots, discount, ..., or campaign, status
	Reason string
}

func (e *InvalidError) Error() string { return fmt.Sprintf("%s: %s", e.Field, e.Reason) }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Check reports what is wrong with a request, as far as it can be told before
// the stores are asked: an *InvalidError, or nil.
func (r StartRequest) Check(now time.Time) error {
	_, err := newCampaign(r, now)
	return err
}

func newCampaign(r StartRequest, now time.Time) (Campaign, error) {
	for _, err := range []error{
		checkText("name", r.Name, 1, maxName),
		checkText("description", r.Description, 0, maxDescription),
		checkRange("discount", "percent, such as 30", r.Discount, 0, 100),
		checkSlots(r.Slots),
		checkRange("waitlist", fmt.Sprintf("a number, such as %d", DefaultWaitlist), r.Waitlist, 0, MaxWaitlist),
		checkTimes(r.StartsAt, r.EndsAt, now),
	} {
		if err != nil {
			return Campaign{}, err
		}
	}
	return Campaign{
		Version: 1, Name: r.Name, Description: r.Description, Discount: r.Discount, Slots: r.Slots, Waitlist: r.Waitlist,
		Status: Active, StartsAt: toMilli(r.StartsAt), EndsAt: toMilli(r.EndsAt),
	}, nil
}

// toMilli is a time as the stores keep it.
func toMilli(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}

func checkSlots(n int64) error { return checkRange("slots", "a number, such as 100", n, 1, MaxSlots) }

func checkRange(field, what string, n, least, most int64) error {
	if n < least || n > most {
		return invalid(field, "must be between %d and %d: %s", least, most, what)
	}
	return nil
}

func checkText(field, s string, least, most int) error {
	if !utf8.ValidString(s) {
		return invalid(field, "is not valid UTF-8")
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return invalid(field, "holds a control character: use letters, digits, punctuation and spaces")
		}
	}
	if least > 0 && strings.TrimSpace(s) == "" {
		return invalid(field, "is empty")
	}
	if n := utf8.RuneCountInString(s); n < least || n > most {
		return invalid(field, "has %d characters: use %d to %d", n, least, most)
	}
	return nil
}

func checkTimes(starts, ends, now time.Time) error {
	if ends.IsZero() {
		return nil
	}
	if !ends.After(starts) {
		return invalid("ends", "must be later than the start")
	}
	if !ends.After(now) {
		return invalid("ends", "lies in the past: it is %s now", now.Format(time.RFC3339))
	}
	return nil
}
