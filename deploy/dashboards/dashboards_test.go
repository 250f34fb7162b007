package dashboards

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// schema is of the dashboards that every Grafana imports; the second version's needs a new one.
type schema = dashboard.Dashboard //nolint:staticcheck // SA1019 prefers that second version

// boards reads every dashboard strictly, by Grafana's own schema: a field that it
// does not know is an error.
func boards(t *testing.T) map[string]schema {
	t.Helper()
	plugins.RegisterDefaultPlugins()
	files, err := filepath.Glob("*.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("dashboards %q, %v", files, err)
	}
	all := map[string]schema{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// It returns an error without text where nothing is wrong, and drops the panels.
		if err := new(schema).UnmarshalJSONStrict(data); err != nil && err.Error() != "" {
			t.Errorf("%s: %v", file, err)
		}
		var board schema
		if err := json.Unmarshal(data, &board); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := board.Validate(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		all[file] = board
	}
	return all
}

// TestDashboards: each imports into any Grafana, and each panel says what it shows.
func TestDashboards(t *testing.T) {
	uids := map[string]bool{}
	for file, board := range boards(t) {
		t.Run(file, func(t *testing.T) {
			if board.Uid == nil || board.Title == nil || uids[*board.Uid] || board.Id != nil {
				t.Error("without a uid and title of its own, or with an id, which belongs to one Grafana")
			}
			uids[*board.Uid] = true
			variables := board.Templating.List
			if len(variables) != 1 || variables[0].Name != "datasource" || variables[0].Type != dashboard.VariableTypeDatasource {
				t.Errorf("variables %+v, want the data source", variables)
			}
			ids, taken := map[uint32]bool{}, map[[2]uint32]string{}
			for _, p := range board.Panels {
				checkPanel(t, *p.Panel)
				if ids[*p.Panel.Id] {
					t.Errorf("two panels have the id %d", *p.Panel.Id)
				}
				ids[*p.Panel.Id] = true
				place(t, taken, *p.Panel)
			}
		})
	}
}

func checkPanel(t *testing.T, p dashboard.Panel) {
	t.Helper()
	if p.Title == nil || p.Description == nil || *p.Description == "" || p.FieldConfig == nil || p.FieldConfig.Defaults.Unit == nil || len(p.Targets) == 0 {
		t.Errorf("panel %d is without title, description, unit or targets", *p.Id)
		return
	}
	if p.Datasource == nil || p.Datasource.Uid == nil || *p.Datasource.Uid != "${datasource}" {
		t.Errorf("%s does not use the variable of the data source", *p.Title)
	}
}

// place notes the cells that a panel covers, which must be free, in a grid 24 wide.
func place(t *testing.T, taken map[[2]uint32]string, p dashboard.Panel) {
	t.Helper()
	at := p.GridPos
	if at.X+at.W > 24 {
		t.Errorf("%s is beyond the edge", *p.Title)
	}
	for x := at.X; x < at.X+at.W; x++ {
		for y := at.Y; y < at.Y+at.H; y++ {
			if other := taken[[2]uint32{x, y}]; other != "" {
				t.Fatalf("%s lies over %s", *p.Title, other)
			}
			taken[[2]uint32{x, y}] = *p.Title
		}
	}
}

var (
	macro       = strings.NewReplacer("$__rate_interval", "5m")
	placeholder = regexp.MustCompile(`\{\{ *([a-z_]+) *\}\}`)
)

// TestDashboardsShowWhatIsExported holds each expression, and the labels that its
// legend names, against running programs. Checked by misspelling one of each.
func TestDashboardsShowWhatIsExported(t *testing.T) {
	series := scraped(t)
	for file, board := range boards(t) {
		for _, p := range board.Panels {
			for _, target := range p.Panel.Targets {
				query, ok := target.(*prometheus.Dataquery)
				if !ok {
					t.Fatalf("%s, %s: a query of %T", file, *p.Panel.Title, target)
				}
				found, err := series.labelsOf(macro.Replace(query.Expr))
				if err != nil {
					t.Errorf("%s, %s: %v", file, *p.Panel.Title, err)
					continue
				}
				for _, named := range placeholder.FindAllStringSubmatch(*query.LegendFormat, -1) {
					if _, ok := found[named[1]]; !ok {
						t.Errorf("%s, %s: the legend names %s, which %s does not have", file, *p.Panel.Title, named[1], query.Expr)
					}
				}
			}
		}
	}
}
