package dashboards

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// read returns a file of the folder deploy.
func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// alerts reads alerts.yml as Prometheus does.
func alerts(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.Parse([]byte(read(t, "alerts.yml")), false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	all := map[string]rulefmt.Rule{}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			if _, twice := all[rule.Alert]; twice || rule.Alert == "" {
				t.Errorf("two alerts %q", rule.Alert)
			}
			all[rule.Alert] = rule
		}
	}
	return all
}

var alertLabel = regexp.MustCompile(`\$labels\.([a-z_]+)`)

// TestAlerts: each names what the programs export, how urgent it is, and a section of
// operations.md that exists. Checked by misspelling a metric, a label in an
// expression and in a summary, and a link.
func TestAlerts(t *testing.T) {
	series := scraped(t)
	const page = "https://github.com/earlybird/earlybird/blob/main/deploy/docs/operations.md#"
	sections := anchors(read(t, "docs/operations.md"))
	for name, rule := range alerts(t) {
		found, err := series.labelsOf(rule.Expr)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, named := range alertLabel.FindAllStringSubmatch(rule.Annotations["summary"], -1) {
			if _, ok := found[named[1]]; !ok {
				t.Errorf("%s: the summary names the label %s, which the expression does not have", name, named[1])
			}
		}
		if severity := rule.Labels["severity"]; severity != "critical" && severity != "warning" {
			t.Errorf("%s: severity %q", name, severity)
		}
		section, ok := strings.CutPrefix(rule.Annotations["runbook_url"], page)
		if rule.Annotations["summary"] == "" || !ok || !sections[section] {
			t.Errorf("%s: summary %q, runbook_url %q", name, rule.Annotations["summary"], rule.Annotations["runbook_url"])
		}
	}
}

// anchors returns the fragments that GitHub gives the headings of a page.
func anchors(page string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(page) {
		if heading := strings.TrimLeft(line, "#"); heading != line && strings.HasPrefix(heading, " ") {
			all[strings.Map(func(r rune) rune {
				switch {
				case r == ' ':
					return '-'
				case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
					return unicode.ToLower(r)
				default:
					return -1
				}
			}, strings.TrimSpace(heading))] = true
		}
	}
	return all
}

// ruleTests is what this package reads of alerts.test.yml.
type ruleTests struct {
	Tests []struct {
		Name        string
		InputSeries []struct{ Series string } `yaml:"input_series"`
		Expressions []struct {
			Expr    string
			Samples []struct{ Labels string } `yaml:"exp_samples"`
		} `yaml:"promql_expr_test"`
	}
}

// TestAlertsFire: by promtool, each alert fires on what it is for, and none on a
// healthy day. No alert and no metric is left out of alerts.test.yml, and what it
// feeds the alerts is what the programs export. Checked by leaving out a test and a
// series of the day, and by a threshold that the day passes.
func TestAlertsFire(t *testing.T) {
	command := exec.Command("go", "run", "-tags", "remove_all_sd", "github.com/prometheus/prometheus/cmd/promtool",
		"test", "rules", "../alerts.test.yml")
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	var file ruleTests
	if err := yaml.Unmarshal([]byte(read(t, "alerts.test.yml")), &file); err != nil {
		t.Fatal(err)
	}
	fires, healthy := map[string]bool{}, map[string]bool{}
	for n, test := range file.Tests {
		for _, input := range test.InputSeries {
			name := holdSeries(t, scraped(t), input.Series)
			if n == 0 {
				healthy[name] = true
			}
		}
		for _, expression := range test.Expressions {
			for _, sample := range expression.Samples {
				fires[test.Name] = fires[test.Name] || sample.Labels == `{alertname="`+test.Name+`"}`
			}
		}
	}
	if day := file.Tests[0].Expressions; len(day) != 1 || day[0].Expr != `count_over_time(ALERTS{alertstate="firing"}[1d])` || len(day[0].Samples) > 0 {
		t.Errorf("the first test is not a day without an alert: %+v", day)
	}
	for name, rule := range alerts(t) {
		if !fires[name] {
			t.Errorf("no test shows that %s fires", name)
		}
		for _, metric := range metricsOf(t, rule.Expr) {
			if !healthy[metric] {
				t.Errorf("the healthy day is without %s, which %s looks at", metric, name)
			}
		}
	}
}

// holdSeries returns the name of a series in the notation of promtool, whose labels
// must be those of one that the programs export.
func holdSeries(t *testing.T, all exported, text string) string {
	t.Helper()
	set, err := parser.NewParser(parser.Options{}).ParseMetric(text)
	if err != nil {
		t.Errorf("%s: %v", text, err)
	}
	name := set.Get("__name__")
	for label := range set.Map() {
		if _, found := all[name][label]; !found && label != "__name__" {
			t.Errorf("%s: nobody exports the label %s", text, label)
		}
	}
	return name
}

func metricsOf(t *testing.T, text string) []string {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			names = append(names, s.Name)
		}
		return nil
	})
	return names
}

var (
	onPage   = regexp.MustCompile("`(earlybird_[a-z_]+)(?:\\{([a-z,]+)\\})?`")
	seriesOf = regexp.MustCompile(`_(?:bucket|count|sum)$`)
)

// TestMetricsAreOnThePages: observing.md and edge.md have every metric of the
// programs with its labels, and no other. Checked by leaving one out and by
// misspelling one.
func TestMetricsAreOnThePages(t *testing.T) {
	series := scraped(t)
	page := read(t, "docs/observing.md") + read(t, "docs/edge.md")
	named := map[string]bool{}
	for _, match := range onPage.FindAllStringSubmatch(page, -1) {
		found, ok := series[match[1]]
		if !ok {
			found, ok = series[match[1]+"_count"] // of a histogram
		}
		if !ok {
			t.Errorf("a page names %s, which nobody exports", match[1])
		}
		for label := range strings.SplitSeq(match[2], ",") {
			if _, ok := found[label]; !ok && label != "" {
				t.Errorf("a page names %s of %s, which it does not have", label, match[1])
			}
		}
		named[match[1]] = true
	}
	for name := range series {
		if !strings.HasPrefix(name, "earlybird_") {
			continue // of Go and the process
		}
		if whole := seriesOf.ReplaceAllString(name, ""); !named[name] && !named[whole] {
			t.Errorf("neither page has %s", name)
		}
	}
}

// TestAnchors: a heading's fragment is GitHub's.
func TestAnchors(t *testing.T) {
	const page = "# When something fails\n#!/bin/sh\n## Where Redis is: the forms of the URL\n## `x_y`, 30 %\n"
	for _, want := range []string{"when-something-fails", "where-redis-is-the-forms-of-the-url", "x_y-30-"} {
		if got := anchors(page); !got[want] || len(got) != 3 {
			t.Errorf("no %s in %v", want, got)
		}
	}
}
