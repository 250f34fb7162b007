package program_test

import (
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/program"
)

func TestDays(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration // 0: refused
	}{
		{"90d", 90 * 24 * time.Hour},
		{"36h", 36 * time.Hour},
		{"1h", time.Hour},
		{"3650d", 3650 * 24 * time.Hour},
		{"59m", 0},
		{"0d", 0},
		{"-5d", 0},
		{"3651d", 0},
		{"99999999999999999d", 0},
		{"1.5d", 0},
		{"d", 0},
		{"", 0},
		{"soon", 0},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, err := program.ParseDays(tt.text)
			if got != tt.want || (err != nil) != (tt.want == 0) {
				t.Fatalf("%s, %v; want %s", got, err, tt.want)
			}
			if err == nil {
				if again, err := program.ParseDays(program.FormatDays(got)); again != got || err != nil {
					t.Errorf("%s is read as %s, %v", program.FormatDays(got), again, err)
				}
			}
		})
	}
}
