package command

import (
	"strings"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		text  string
		zoned bool
		want  string // in UTC, or what the error says
	}{
		{"2126-12-24T18:00:00+01:00", false, "2126-12-24T17:00:00Z"},
		{"2126-12-24t18:00:00z", false, "2126-12-24T18:00:00Z"},
		{"2126-12-24T18:00:00.25Z", false, "2126-12-24T18:00:00Z"},
		{"2126-12-24T18:00:00-00:00", false, "2126-12-24T18:00:00Z"},
		{"now", false, "2026-11-22T12:00:00Z"},
		{"+2h", false, "2026-11-22T14:00:00Z"},
		{"+90m", false, "2026-11-22T13:30:00Z"},
		{"2126-12-24T18:00:00+24:00", false, "is not a time"},
		{"2126-12-24T18:00:00+01:60", false, "is not a time"},
		{"2126-12-24T2:30:00Z", false, "is not a time"},
		{"2126-12-24T18:00:00,5Z", false, "is not a time"},
		{"2126-12-24T24:00:00Z", false, "is not a time"},
		{"2126-02-30T18:00:00Z", false, "is not a time"},
		{"0001-01-01T00:00:00Z", false, "is not a time"},
		{" 2126-12-24T18:00:00Z", false, "is not a time"},
		{"tomorrow", false, "is not a time"},
		{"", false, "is not a time"},
		{"+2", false, "is not a time from now"},
		{"+-2h", false, "is not a time from now"},
		{"2126-12-24T18:00", false, "does not say in which zone"},
		{"2126-12-24 18:00:05", false, "does not say in which zone"},
		{"2126-12-24T18:00", true, "2126-12-24T17:00:00Z"},
		{"2126-07-01 09:00:05", true, "2126-07-01T07:00:05Z"},
		{"2126-02-30 09:00", true, "is not a day of the calendar"},
		{"2027-03-28T01:59", true, "2027-03-28T00:59:00Z"},
		{"2027-03-28T03:00", true, "2027-03-28T01:00:00Z"},
		{"2027-03-28T02:30", true, "does not exist, because the clocks are changed: write 2027-03-28T03:30:00+02:00 or 2027-03-28T01:30:00+01:00"},
		{"2027-10-31T02:30", true, "exists twice, because the clocks are changed: write 2027-10-31T02:30:00+02:00 or 2027-10-31T02:30:00+01:00"},
		{"2027-10-31T03:00", true, "2027-10-31T02:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			at, err := parseTime(tt.text, now, berlin, tt.zoned)
			got := at.UTC().Format(time.RFC3339)
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestShown(t *testing.T) {
	for given, want := range map[string]string{
		"mongodb://me:s3cret@db/app?tlsCertificateKeyFilePassword=s3cret&authMechanismProperties=AWS_SESSION_TOKEN:s3cret": "mongodb://db/app?tlsCertificateKeyFilePassword=...&authMechanismProperties=...",
		"redis://:s3cret@redis:6379/0?password=s3cret":                                                                     "redis://redis:6379/0?password=...",
		"https://s3cret@bank.example/":                                                                                     "https://bank.example/",
		"redis://redis/0#s3cret":                                                                                           "redis://redis/0",
		"mongodb://a,b/app":                                                                                                "mongodb://a,b/app",
		"mongodb://me:s3%cret@db/app":                                                                                      "an address that cannot be parsed",
		"http://127.0.0.1:8081/.well-known/jwks.json":                                                                      "http://127.0.0.1:8081/.well-known/jwks.json",
	} {
		if got := shown(given); got != want || strings.Contains(got, "s3cret") {
			t.Errorf("shown(%q) = %q, want %q", given, got, want)
		}
	}
}
