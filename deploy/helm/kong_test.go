package helm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

// kongChart is what kong-values.yaml gives to Kong's chart, decoded strictly: the values
// that the chart of 3.4.1 was seen to take.
type kongChart struct {
	Image struct {
		Repository      string `json:"repository"`
		Tag             string `json:"tag"`
		EffectiveSemver string `json:"effectiveSemver"`
	} `json:"image"`
	Env           map[string]string      `json:"env"` // a value that is no string would be false, not off
	CustomEnv     map[string]core.EnvVar `json:"customEnv"`
	SecretVolumes []string               `json:"secretVolumes"`
	Proxy         struct {
		Type                  string `json:"type"`
		ExternalTrafficPolicy string `json:"externalTrafficPolicy"`
		HTTP                  struct {
			ServicePort   int `json:"servicePort"`
			ContainerPort int `json:"containerPort"`
		} `json:"http"`
		TLS struct {
			ServicePort   int      `json:"servicePort"`
			ContainerPort int      `json:"containerPort"`
			Parameters    []string `json:"parameters"`
		} `json:"tls"`
	} `json:"proxy"`
	IngressController         struct{ Enabled bool }          `json:"ingressController"`
	Manager                   struct{ Enabled bool }          `json:"manager"`
	ReplicaCount              int                             `json:"replicaCount"`
	UpdateStrategy            map[string]any                  `json:"updateStrategy"`
	PodDisruptionBudget       map[string]any                  `json:"podDisruptionBudget"`
	TopologySpreadConstraints []core.TopologySpreadConstraint `json:"topologySpreadConstraints"`
	Resources                 core.ResourceRequirements       `json:"resources"`
	ExtraObjects              []any                           `json:"extraObjects"`

	service core.Service
	policy  networking.NetworkPolicy
}

func kongObjects(t *testing.T) kongChart {
	t.Helper()
	var k kongChart
	strictly(t, "kong-values.yaml", read(t, "deploy/helm/kong-values.yaml"), &k)
	if len(k.ExtraObjects) != 2 {
		t.Fatalf("%d objects", len(k.ExtraObjects))
	}
	for i, into := range []any{&k.service, &k.policy} {
		document, err := yaml.Marshal(k.ExtraObjects[i])
		if err != nil {
			t.Fatal(err)
		}
		strictly(t, "kong-values.yaml: extraObjects", string(document), into)
	}
	return k
}

// kongConf reads kong.conf the way Kong does: name = value, # begins a comment.
func kongConf(t *testing.T) map[string]string {
	t.Helper()
	conf := map[string]string{}
	for line := range strings.Lines(read(t, "kong/kong.conf")) {
		line, _, _ = strings.Cut(line, "#")
		if name, value, ok := strings.Cut(line, "="); ok {
			conf[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return conf
}

// TestKongKeepsItsSettings: the values say what kong.conf says, with the folder that the
// chart lets Kong write to, and set back whatever the chart sets by itself. Checked by
// leaving proxy_listen out, and by another metrics port.
func TestKongKeepsItsSettings(t *testing.T) {
	k, conf := kongObjects(t), kongConf(t)
	prefix := k.Env["prefix"]
	want := map[string]string{"prefix": "/kong_prefix", "router_flavor": "traditional_compatible"}
	for name, value := range conf {
		// What the chart sets by itself, but for the file of the declarative
		// configuration, and what names the prefix.
		if slices.Contains([]string{"database", "plugins", "proxy_listen", "admin_listen", "status_listen", "nginx_worker_processes"}, name) || strings.HasPrefix(name, "pluginserver_") {
			want[name] = strings.ReplaceAll(value, conf["prefix"], prefix)
		}
	}
	for _, name := range []string{"ssl_cert", "ssl_cert_key"} {
		want[name] = filepath.Join("/etc/secrets", k.SecretVolumes[0], map[string]string{"ssl_cert": "tls.crt", "ssl_cert_key": "tls.key"}[name])
	}
	commented := regexp.MustCompile(`(?m)^#(trusted_ips|real_ip_header|real_ip_recursive) = (.*)$`)
	for _, found := range commented.FindAllStringSubmatch(read(t, "kong/kong.conf"), -1) {
		want[found[1]] = found[2]
	}
	want["trusted_ips"] = "192.0.2.0/24" // nobody's (RFC 5737)
	for name, value := range want {
		if k.Env[name] != value {
			t.Errorf("env.%s is %q, want %q", name, k.Env[name], value)
		}
	}
	for name := range k.Env {
		if _, ok := want[name]; !ok {
			t.Errorf("env.%s: kong.conf has it, or nobody needs it", name)
		}
	}
	if k.IngressController.Enabled || k.Manager.Enabled || k.ReplicaCount < 2 {
		t.Errorf("ingress controller %v, manager %v, %d replicas", k.IngressController.Enabled, k.Manager.Enabled, k.ReplicaCount)
	}
	// Nobody outside sends a password in the clear.
	if p := k.Proxy; p.HTTP.ServicePort != 0 || !strings.Contains(conf["proxy_listen"], "0.0.0.0:8000 ") || p.HTTP.ContainerPort != 8000 || !strings.Contains(conf["proxy_listen"], "0.0.0.0:8443 ssl") || p.TLS.ContainerPort != 8443 || p.TLS.ServicePort != 443 || len(p.TLS.Parameters) > 0 {
		t.Errorf("proxy: %+v", p)
	}
	for _, port := range []string{"8000", "8443", "8100", "9542", "9543"} {
		if !regexp.MustCompile(`(?m)^EXPOSE .*\b` + port + `\b`).MatchString(read(t, "kong/Dockerfile")) {
			t.Errorf("the image exposes no %s", port)
		}
	}
	if from := regexp.MustCompile(`(?m)^FROM kong:(\S+)$`).FindStringSubmatch(read(t, "kong/Dockerfile")); k.Image.EffectiveSemver != from[1] {
		t.Errorf("the chart takes the image for Kong %s, it is %s", k.Image.EffectiveSemver, from[1])
	}
}

// TestKongStartsThePlugins asks each plugin, with the command of the values, for the
// socket that Kong then looks for.
func TestKongStartsThePlugins(t *testing.T) {
	k := kongObjects(t)
	for name := range strings.SplitSeq(k.Env["pluginserver_names"], ",") {
		key := "pluginserver_" + strings.ReplaceAll(name, "-", "_")
		command := strings.Fields(k.Env[key+"_query_cmd"])
		if len(command) == 0 || command[0] != "/usr/local/bin/"+name {
			t.Fatalf("%s is asked by %q", name, command)
		}
		var dump struct{ SocketPath string }
		if err := json.Unmarshal([]byte(said(t, program(t, "./plugin/"+name), command[1:]...)), &dump); err != nil {
			t.Fatal(err)
		}
		if dump.SocketPath != k.Env[key+"_socket"] {
			t.Errorf("%s listens on %s, Kong looks for %s", name, dump.SocketPath, k.Env[key+"_socket"])
		}
	}
}

// TestKongYML renders kong.yml with the command of kubernetes.md and follows what it
// refers to: the chart's Service, the issuer and audience of the example, the variable
// from a Secret.
func TestKongYML(t *testing.T) {
	line := regexp.MustCompile(`(?m)^ +earlybird (kong render .*) > kong\.yml$`).FindStringSubmatch(read(t, "deploy/docs/kubernetes.md"))
	if line == nil {
		t.Fatal("kubernetes.md does not say how kong.yml is made")
	}
	earlybird := program(t, "./admin")
	text := said(t, earlybird, strings.Fields(line[1])...)
	file := filepath.Join(t.TempDir(), "kong.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	said(t, earlybird, "kong", "validate", file)

	r := render(t, values(t, "example-values.yaml"))
	env := r.environment(t, "identity")
	at := r.services["earlybird"].Name + "." + r.services["earlybird"].Namespace + env["EARLYBIRD_LISTEN"]
	for _, want := range []string{
		`- target: "` + at + `"`, `jwks_url: "http://` + at + `/.well-known/jwks.json"`,
		`issuer: "` + env["EARLYBIRD_ISSUER"] + `"`, `audience: "` + env["EARLYBIRD_AUDIENCE"] + `"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("kong.yml lacks %s", want)
		}
	}
	reference := regexp.MustCompile(`\{vault://env/([a-z-]+)\}`).FindStringSubmatch(text)
	variable := strings.ToUpper(strings.ReplaceAll(reference[1], "-", "_"))
	k := kongObjects(t)
	if from := k.CustomEnv[variable].ValueFrom; len(k.CustomEnv) != 1 || from == nil || from.SecretKeyRef == nil || from.SecretKeyRef.Name == "" || from.SecretKeyRef.Key == "" {
		t.Errorf("%s is %+v", variable, k.CustomEnv)
	}
	if !strings.Contains(read(t, "deploy/docs/kubernetes.md"), "create secret generic "+k.CustomEnv[variable].ValueFrom.SecretKeyRef.Name+" ") {
		t.Error("kubernetes.md does not say how its Secret is made")
	}
}

// TestKongIsFound: doctor and Prometheus find Kong where the values put it.
func TestKongIsFound(t *testing.T) {
	k, r := kongObjects(t), render(t, values(t, "example-values.yaml"))
	pods := map[string]string{"app.kubernetes.io/name": "kong", "app.kubernetes.io/component": "app"} // of the chart's pods
	if url := r.environment(t, "doctor")["EARLYBIRD_GATEWAY_URL"]; url != "http://"+k.service.Name+":8000" || k.service.Spec.Ports[0].Port != 8000 || k.service.Spec.Ports[0].TargetPort.StrVal != "proxy" {
		t.Errorf("doctor asks %s, the Service is %+v", url, k.service)
	}
	for name, value := range k.service.Spec.Selector {
		if pods[name] != value {
			t.Errorf("the Service looks for %s=%s", name, value)
		}
	}
	if !selects(t, &k.policy.Spec.PodSelector, pods) || !selects(t, &r.plugins.Spec.Selector, pods) || !selects(t, k.TopologySpreadConstraints[0].LabelSelector, pods) {
		t.Errorf("the policy is about %+v, the monitor about %+v", k.policy.Spec.PodSelector, r.plugins.Spec.Selector)
	}
	// The plugins' metrics, in the pods that have Kong's port for its status.
	for i, plugin := range []string{"auth", "tag"} {
		endpoint, command := r.plugins.Spec.PodMetricsEndpoints[i], k.Env["pluginserver_earlybird_"+plugin+"_start_cmd"]
		_, port, _ := strings.Cut(*endpoint.RelabelConfigs[0].Replacement, "}:")
		if *endpoint.Port != "status" || !strings.HasSuffix(command, "-metrics-listen 0.0.0.0:"+port) {
			t.Errorf("Prometheus asks earlybird-%s at %q, it is started by %q", plugin, port, command)
		}
	}
	if at := render(t, values(t, "testdata/open.yaml")).plugins.Spec.NamespaceSelector.MatchNames; !slices.Equal(at, []string{"edge"}) {
		t.Errorf("Prometheus looks for Kong in %v", at)
	}
}
