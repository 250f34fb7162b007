package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
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
