package dashboards

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	plabels "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// labelsOf parses an expression and returns the labels that its result may have. It
// reports a metric or label that the programs do not export, and a value of a label
// that none of them has.
func (e exported) labelsOf(text string) (labels, error) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return nil, err
	}
	c := checker{exported: e}
	result := c.labels(expr)
	if len(c.faults) > 0 {
		return nil, fmt.Errorf("%s: %s", text, strings.Join(c.faults, "; "))
	}
	return result, nil
}

type checker struct {
	exported exported
	faults   []string
}

func (c *checker) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

func (c *checker) labels(expr parser.Expr) labels {
	switch x := expr.(type) {
	case *parser.NumberLiteral:
		return nil
	case *parser.ParenExpr:
		return c.labels(x.Expr)
	case *parser.UnaryExpr:
		return c.labels(x.Expr)
	case *parser.MatrixSelector:
		return c.labels(x.VectorSelector)
	case *parser.VectorSelector:
		return c.selector(x)
	case *parser.AggregateExpr:
		return c.aggregate(x)
	case *parser.BinaryExpr:
		return c.binary(x)
	case *parser.Call:
		return c.call(x)
	default:
		c.fault("%T is not known to this test", expr)
		return nil
	}
}

func (c *checker) selector(s *parser.VectorSelector) labels {
	all, found := c.exported[s.Name]
	if !found {
		c.fault("nobody exports %q", s.Name)
		return nil
	}
	for _, m := range s.LabelMatchers {
		seen, found := all[m.Name]
		switch {
		case m.Name == model.MetricNameLabel:
		case !found:
			c.fault("%s has no label %q", s.Name, m.Name)
		case len(seen) == 0: // job and instance: the operator's
		case m.Type == plabels.MatchEqual || m.Type == plabels.MatchNotEqual:
			if !seen[m.Value] {
				c.fault("%s has no %s=%q", s.Name, m.Name, m.Value)
			}
		case !slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(value string) bool {
			return m.Matches(value) == (m.Type == plabels.MatchRegexp)
		}):
			if m.Value != "5.." { // the journey sees no failure
				c.fault("%s has no %s like %q", s.Name, m.Name, m.Value)
			}
		}
	}
	return all
}

// require reports the names that all does not have.
func (c *checker) require(all labels, names []string) {
	for _, name := range names {
		if _, found := all[name]; !found {
			c.fault("no label %q to group or match by", name)
		}
	}
}

func only(all labels, names []string) labels {
	kept := labels{}
	for _, name := range names {
		kept[name] = all[name]
	}
	return kept
}

func without(all labels, names ...string) labels {
	kept := maps.Clone(all)
	for _, name := range names {
		delete(kept, name)
	}
	return kept
}

func (c *checker) aggregate(a *parser.AggregateExpr) labels {
	all := c.labels(a.Expr)
	c.require(all, a.Grouping)
	if a.Without {
		return without(all, a.Grouping...)
	}
	return only(all, a.Grouping)
}

func (c *checker) binary(b *parser.BinaryExpr) labels {
	left, right := c.labels(b.LHS), c.labels(b.RHS)
	if b.VectorMatching == nil { // with a number
		if b.LHS.Type() == parser.ValueTypeScalar {
			return right
		}
		return left
	}
	c.require(left, b.VectorMatching.MatchingLabels)
	c.require(right, b.VectorMatching.MatchingLabels)
	switch {
	case b.Op == parser.LOR:
		return only(left, slices.DeleteFunc(slices.Collect(maps.Keys(left)), func(name string) bool { return right[name] == nil }))
	case b.VectorMatching.On && !b.Op.IsSetOperator():
		return only(left, b.VectorMatching.MatchingLabels)
	default:
		return left
	}
}

func (c *checker) call(call *parser.Call) labels {
	all := labels{}
	for _, arg := range call.Args {
		maps.Copy(all, c.labels(arg))
	}
	switch call.Func.Name {
	case "histogram_quantile":
		c.require(all, []string{"le"})
		return without(all, "le")
	case "absent": // has what its selector says exactly
		named := labels{}
		if s, ok := call.Args[0].(*parser.VectorSelector); ok {
			for _, m := range s.LabelMatchers {
				if m.Type == plabels.MatchEqual && m.Name != model.MetricNameLabel {
					named[m.Name] = all[m.Name]
				}
			}
		}
		return named
	default:
		return all
	}
}

// TestExpressionsAreChecked: the check itself finds what it is for.
func TestExpressionsAreChecked(t *testing.T) {
	e := exported{
		"requests_total": {"route": {"/a": true}, "status": {"200": true}, "instance": {}},
		"up":             {"instance": {}},
	}
	for _, tt := range []struct{ expr, fault string }{
		{`sum by (route) (rate(requests_total{status="200"}[5m])) > 1`, ""},
		{`requests_total * on (instance) group_left up`, ""},
		{`absent(requests_total{route="/a"})`, ""},
		{`sum by (route (requests_total)`, "unexpected"},
		{`request_total`, `nobody exports "request_total"`},
		{`requests_total{code="200"}`, `no label "code"`},
		{`requests_total{status="404"}`, `no status="404"`},
		{`requests_total{status=~"4.."}`, `no status like "4.."`},
		{`sum by (path) (requests_total)`, `no label "path"`},
		{`sum by (status) (sum by (route) (requests_total))`, `no label "status"`},
		{`requests_total / on (route) up`, `no label "route"`},
		{`histogram_quantile(0.9, requests_total)`, `no label "le"`},
	} {
		_, err := e.labelsOf(tt.expr)
		if (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
			t.Errorf("%s: %v, want %q", tt.expr, err, tt.fault)
		}
	}
}
