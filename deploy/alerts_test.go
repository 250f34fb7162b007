package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	alertMetric = regexp.MustCompile(`earlybird_[a-z_]+`)
	pageMetric  = regexp.MustCompile("`(earlybird_[a-z_]+)[`{]")
)

// TestMetricsHaveTheirNames holds the metrics that alerts.yml and
// docs/observing.md name against the code. Checked by misspelling one in each.
func TestMetricsHaveTheirNames(t *testing.T) {
	code := programText(t, "identity") + programText(t, "plugin")
	named := alertMetric.FindAllString(read(t, "deploy/alerts.yml"), -1)
	for _, found := range pageMetric.FindAllStringSubmatch(read(t, "deploy/docs/observing.md"), -1) {
		named = append(named, found[1])
	}
	if len(named) < 20 {
		t.Fatalf("only %d metrics are named", len(named))
	}
	for _, name := range named {
		name = strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")
		// telemetry/state.go puts the prefix before the name.
		if !strings.Contains(code, `"`+name+`"`) && !strings.Contains(code, `"`+strings.TrimPrefix(name, "earlybird_")+`"`) {
			t.Errorf("no metric is called %s", name)
		}
	}
}

// programText returns the Go files of a folder, tests left out.
func programText(t *testing.T, folder string) string {
	t.Helper()
	var text strings.Builder
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		text.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

var (
	registered = regexp.MustCompile(`(?:Name: "earlybird_|(?:gauge|counter)\(")([a-z_]+)"`)
	alert      = regexp.MustCompile(`alert: (\w+)\n\s+expr: (.*)\n(?:\s+for: .*\n)?\s+annotations: \{summary: ".+"\}`)
)

// TestMetricsAreOnThePage: docs/observing.md has every metric of identity.
// Checked by leaving one out.
func TestMetricsAreOnThePage(t *testing.T) {
	page := read(t, "deploy/docs/observing.md")
	found := registered.FindAllStringSubmatch(programText(t, "identity"), -1)
	if len(found) < 30 {
		t.Fatalf("only %d metrics found", len(found))
	}
	for _, match := range found {
		name := "earlybird_" + strings.TrimPrefix(match[1], "earlybird_")
		if !regexp.MustCompile("`" + name + "[`{]").MatchString(page) {
			t.Errorf("%s is not on the page", name)
		}
	}
}

// TestTroubleRaisesAnAlarm: what stops logins from counting, or edges from
// hearing of it, has its alarm, and each alarm says what to do or what it means.
func TestTroubleRaisesAnAlarm(t *testing.T) {
	file := read(t, "deploy/alerts.yml")
	rules := alert.FindAllStringSubmatch(file, -1)
	if len(rules) != strings.Count(file, "alert: ") {
		t.Errorf("%d of %d alarms are of the form that this test reads", len(rules), strings.Count(file, "alert: "))
	}
	for _, trouble := range []string{
		`earlybird_placements_total{status="retry"}`, "earlybird_campaign_ready", "earlybird_campaign_behind", "earlybird_campaign_damaged",
		"earlybird_campaign_read_age_seconds", "earlybird_mirror_lag_entries", "earlybird_mirror_up", "earlybird_mirror_foreign",
		"earlybird_clock_skew_seconds", "earlybird_revocations_foreign",
	} {
		if !slices.ContainsFunc(rules, func(rule []string) bool { return strings.Contains(rule[2], trouble) }) {
			t.Errorf("no alarm looks at %s", trouble)
		}
	}
}
