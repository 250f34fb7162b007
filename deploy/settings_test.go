package deploy_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	helpFlag    = regexp.MustCompile(`(?m)^   (--[a-z0-9-]+) .*\[\$(EARLYBIRD_[A-Z0-9_]+)\]$`)
	helpDefault = regexp.MustCompile(`\(default: "([^"]*)"\)`)
	settingsRow = regexp.MustCompile("(?m)^\\| `(--[a-z0-9-]+)` \\| (none|`[^`]*`) \\|")
)

// TestSettingsPage holds deploy/docs/settings.md against --help: every flag,
// once, with its default. Checked by leaving a row out and by changing a default.
func TestSettingsPage(t *testing.T) {
	flags := map[string]string{}
	for _, found := range helpFlag.FindAllStringSubmatch(run(t, program(t, "./identity"), "--help"), -1) {
		flags[found[1]] = "none"
		if value := helpDefault.FindStringSubmatch(found[0]); value != nil {
			flags[found[1]] = "`" + value[1] + "`"
		}
		if variable := "EARLYBIRD_" + strings.ToUpper(strings.ReplaceAll(found[1][2:], "-", "_")); variable != found[2] {
			t.Errorf("%s is set by %s, the page says %s", found[1], found[2], variable)
		}
	}
	if len(flags) < 30 {
		t.Fatalf("only %d flags found in --help", len(flags))
	}
	rows := map[string]string{}
	for _, row := range settingsRow.FindAllStringSubmatch(read(t, "deploy/docs/settings.md"), -1) {
		if _, twice := rows[row[1]]; twice {
			t.Errorf("%s is there twice", row[1])
		}
		rows[row[1]] = row[2]
	}
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		if rows[name] != flags[name] {
			t.Errorf("%s: the page says %q, --help says %s", name, rows[name], flags[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		if flags[name] == "" {
			t.Errorf("%s is no flag", name)
		}
	}
}
