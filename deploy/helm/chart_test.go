package helm

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const (
	chartDir  = "earlybird"
	namespace = "bank"
)

// valueFiles are the sets of values that every general test goes through.
var valueFiles = []string{"example-values.yaml", "testdata/minimal.yaml", "testdata/everything.yaml", "testdata/open.yaml"}

// release is what the chart makes of values.
type release struct {
	identity apps.Deployment
	settings core.ConfigMap
	services map[string]core.Service
	budget   policy.PodDisruptionBudget
	scaler   *autoscaling.HorizontalPodAutoscaler
	policies map[string]networking.NetworkPolicy
	doctor   batch.Job
	monitor  *monitoring.ServiceMonitor
	plugins  *monitoring.PodMonitor
	rules    *monitoring.PrometheusRule
	all      []meta.Object
}

// values reads a file of values.
func values(t *testing.T, file string) map[string]any {
	t.Helper()
	v, err := common.ReadValuesFile(file)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return v
}

// set changes values: a.b.c=VALUE, with VALUE in YAML.
func set(t *testing.T, v map[string]any, changes ...string) map[string]any {
	t.Helper()
	for _, change := range changes {
		path, text, _ := strings.Cut(change, "=")
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatalf("%s: %v", change, err)
		}
		names := strings.Split(path, ".")
		at := v
		for _, name := range names[:len(names)-1] {
			below, ok := at[name].(map[string]any)
			if !ok {
				below = map[string]any{}
				at[name] = below
			}
			at = below
		}
		at[names[len(names)-1]] = value
	}
	return v
}

// templates renders the chart as `helm install earlybird` does, without a cluster.
func templates(v map[string]any) (map[string]string, error) {
	chart, err := loader.LoadDir(chartDir)
	if err != nil {
		return nil, err
	}
	all, err := util.ToRenderValues(chart, v, common.ReleaseOptions{Name: "earlybird", Namespace: namespace, IsInstall: true, Revision: 1}, nil)
	if err != nil {
		return nil, err
	}
	return engine.Render(chart, all)
}

// render decodes every object strictly: a field that Kubernetes does not know, or
// that is there twice, fails the test.
func render(t *testing.T, v map[string]any) *release {
	t.Helper()
	files, err := templates(v)
	if err != nil {
		t.Fatal(err)
	}
	r := &release{services: map[string]core.Service{}, policies: map[string]networking.NetworkPolicy{}}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for _, document := range strings.Split(files[name], "\n---\n") {
			if strings.TrimSpace(document) != "" {
				r.add(t, name, document)
			}
		}
	}
	return r
}

func (r *release) add(t *testing.T, file, document string) {
	t.Helper()
	var kind meta.TypeMeta
	if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
		t.Fatalf("%s: %v\n%s", file, err, document)
	}
	var (
		service core.Service
		network networking.NetworkPolicy
		object  meta.Object
	)
	switch kind.APIVersion + " " + kind.Kind {
	case "apps/v1 Deployment":
		object = &r.identity
	case "v1 ConfigMap":
		object = &r.settings
	case "v1 Service":
		object = &service
	case "policy/v1 PodDisruptionBudget":
		object = &r.budget
	case "autoscaling/v2 HorizontalPodAutoscaler":
		r.scaler = &autoscaling.HorizontalPodAutoscaler{}
		object = r.scaler
	case "networking.k8s.io/v1 NetworkPolicy":
		object = &network
	case "batch/v1 Job":
		object = &r.doctor
	case "monitoring.coreos.com/v1 ServiceMonitor":
		r.monitor = &monitoring.ServiceMonitor{}
		object = r.monitor
	case "monitoring.coreos.com/v1 PodMonitor":
		r.plugins = &monitoring.PodMonitor{}
		object = r.plugins
	case "monitoring.coreos.com/v1 PrometheusRule":
		r.rules = &monitoring.PrometheusRule{}
		object = r.rules
	default:
		t.Fatalf("%s: what is a %s %s?", file, kind.APIVersion, kind.Kind)
	}
	strictly(t, file, document, object)
	switch object {
	case meta.Object(&service):
		r.services[service.Name] = service
	case meta.Object(&network):
		r.policies[network.Name] = network
	}
	r.all = append(r.all, object)
}

func strictly(t *testing.T, what, document string, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
		t.Fatalf("%s: %v\n%s", what, err, document)
	}
}

// read returns a file of the project.
func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestLint(t *testing.T) {
	for _, file := range valueFiles {
		for _, message := range lint.RunAll(chartDir, values(t, file), namespace).Messages {
			if message.Severity >= support.WarningSev {
				t.Errorf("%s: %s", file, message)
			}
		}
	}
}

// TestObjects: every object has its namespace and labels, names that cannot clash,
// and nothing that comes only with a switch without it.
func TestObjects(t *testing.T) {
	for _, tt := range []struct {
		file                 string
		objects              int
		scales, monitors, np bool
	}{
		{"testdata/minimal.yaml", 8, false, false, true},
		{"testdata/everything.yaml", 12, true, true, true},
		{"testdata/open.yaml", 9, false, true, false},
		{"example-values.yaml", 12, true, true, true},
	} {
		t.Run(tt.file, func(t *testing.T) {
			r := render(t, values(t, tt.file))
			if len(r.all) != tt.objects || (r.scaler != nil) != tt.scales || (r.rules != nil) != tt.monitors || (len(r.policies) > 0) != tt.np {
				t.Errorf("%d objects, want %d; scaler %v, rules %v, policies %v", len(r.all), tt.objects, r.scaler, r.rules, r.policies)
			}
			for _, object := range r.all {
				labels := object.GetLabels()
				if object.GetNamespace() != namespace || labels["app.kubernetes.io/name"] != "earlybird" || labels["app.kubernetes.io/instance"] != "earlybird" {
					t.Errorf("%T %s: namespace %q, labels %v", object, object.GetName(), object.GetNamespace(), labels)
				}
			}
		})
	}
}
