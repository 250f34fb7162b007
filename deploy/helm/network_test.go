package helm

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// party is who may talk or be talked to.
type party struct {
	namespace string
	labels    map[string]string
}

// selects reports whether a selector of labels takes these.
func selects(t *testing.T, s *meta.LabelSelector, set map[string]string) bool {
	t.Helper()
	selector, err := meta.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(labels.Set(set))
}

// meant reports whether one of the peers is p: without peers everybody is. Addresses
// are nobody's here.
func meant(t *testing.T, home string, peers []networking.NetworkPolicyPeer, p party) bool {
	t.Helper()
	return len(peers) == 0 || slices.ContainsFunc(peers, func(peer networking.NetworkPolicyPeer) bool {
		if peer.IPBlock != nil {
			return false
		}
		inside := p.namespace == home
		if peer.NamespaceSelector != nil {
			inside = selects(t, peer.NamespaceSelector, map[string]string{"kubernetes.io/metadata.name": p.namespace})
		}
		return inside && (peer.PodSelector == nil || selects(t, peer.PodSelector, p.labels))
	})
}

// opens reports whether one of the ports is this one of these containers.
func opens(ports []networking.NetworkPolicyPort, protocol core.Protocol, port int32, names map[string]int32) bool {
	return slices.ContainsFunc(ports, func(p networking.NetworkPolicyPort) bool {
		number := p.Port.IntVal
		if p.Port.Type == intstr.String {
			number = names[p.Port.StrVal]
		}
		return *p.Protocol == protocol && number == port
	})
}

// TestPolicies: who may talk to whom, and nobody else. A connection needs the word of
// the policies of both sides; a side without a policy agrees.
func TestPolicies(t *testing.T) {
	r := render(t, values(t, "example-values.yaml"))
	gateway := kongObjects(t).policy
	gateway.Namespace = namespace // as Helm does where an object names none
	rules := []networking.NetworkPolicy{gateway}
	for _, p := range r.policies {
		rules = append(rules, p)
	}
	names := map[string]int32{}
	for _, port := range r.identity.Spec.Template.Spec.Containers[0].Ports {
		names[port.Name] = port.ContainerPort
	}
	parties := map[string]party{
		"identity":     {namespace, r.identity.Spec.Template.Labels},
		"doctor":       {namespace, r.doctor.Spec.Template.Labels},
		"kong":         {namespace, map[string]string{"app.kubernetes.io/name": "kong", "app.kubernetes.io/component": "app", "app.kubernetes.io/instance": "kong"}},
		"prometheus":   {"monitoring", map[string]string{"app.kubernetes.io/name": "prometheus"}},
		"grafana":      {"monitoring", map[string]string{"app.kubernetes.io/name": "grafana"}},
		"somebody":     {namespace, map[string]string{"app": "somebody"}},
		"another kong": {"elsewhere", map[string]string{"app.kubernetes.io/name": "kong", "app.kubernetes.io/component": "app"}},
		"mongodb":      {"data", map[string]string{"app.kubernetes.io/name": "mongodb"}},
		"redis":        {"data", map[string]string{"app.kubernetes.io/name": "redis"}},
		"dns":          {"kube-system", map[string]string{"k8s-app": "kube-dns"}},
		"collector":    {"monitoring", map[string]string{"app.kubernetes.io/name": "opentelemetry-collector"}},
	}
	allowed := func(from, to string, protocol core.Protocol, port int32) bool {
		a, b := parties[from], parties[to]
		out, in := true, true
		for _, p := range rules {
			if p.Namespace == a.namespace && selects(t, &p.Spec.PodSelector, a.labels) && slices.Contains(p.Spec.PolicyTypes, networking.PolicyTypeEgress) {
				out = slices.ContainsFunc(p.Spec.Egress, func(e networking.NetworkPolicyEgressRule) bool {
					return meant(t, p.Namespace, e.To, b) && opens(e.Ports, protocol, port, names)
				})
			}
			if p.Namespace == b.namespace && selects(t, &p.Spec.PodSelector, b.labels) && slices.Contains(p.Spec.PolicyTypes, networking.PolicyTypeIngress) {
				in = slices.ContainsFunc(p.Spec.Ingress, func(i networking.NetworkPolicyIngressRule) bool {
					return meant(t, p.Namespace, i.From, a) && opens(i.Ports, protocol, port, names)
				})
			}
		}
		return out && in
	}
	talks := map[string][]int32{
		"kong identity": {8081}, "doctor identity": {8081}, "prometheus identity": {9541},
		"identity mongodb": {27017}, "identity redis": {6379}, "identity collector": {4318},
		"doctor mongodb": {27017}, "doctor redis": {6379}, "doctor kong": {8000, 8443},
		"kong redis":      {6379},
		"prometheus kong": {8000, 8443, 8100, 9542, 9543}, "grafana kong": {8000, 8443, 8100, 9542, 9543}, "collector kong": {8000, 8443, 8100, 9542, 9543},
		"somebody kong": {8000, 8443}, "another kong kong": {8000, 8443}, "mongodb kong": {8000, 8443}, "redis kong": {8000, 8443}, "dns kong": {8000, 8443},
	}
	free := []string{"prometheus", "grafana", "somebody", "another kong", "mongodb", "redis", "dns", "collector"} // without a policy
	for from := range parties {
		for to := range parties {
			if slices.Contains(free, from) && slices.Contains(free, to) || from == to {
				continue
			}
			var ports []int32
			for _, port := range []int32{8081, 9541, 27017, 6379, 4318, 8000, 8443, 8001, 8100, 9542, 9543, 443} {
				if allowed(from, to, core.ProtocolTCP, port) {
					ports = append(ports, port)
				}
			}
			want := slices.Clone(talks[from+" "+to])
			slices.Sort(want)
			slices.Sort(ports)
			if !slices.Equal(ports, want) {
				t.Errorf("%s may ask %s at %v, want %v", from, to, ports, want)
			}
			asks := slices.Contains([]string{"identity", "doctor", "kong"}, from) && to == "dns"
			if got := allowed(from, to, core.ProtocolUDP, 53); got != asks {
				t.Errorf("%s may ask %s for names: %v", from, to, got)
			}
		}
	}
}

// TestPoliciesFollowTheValues: what an installation says of its own network is there,
// and what it does not use stays closed.
func TestPoliciesFollowTheValues(t *testing.T) {
	r := render(t, values(t, "testdata/everything.yaml"))
	var text []string
	for _, p := range r.policies {
		document, err := yaml.Marshal(p.Spec)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, string(document))
	}
	all := strings.Join(text, "\n")
	for _, part := range []string{"10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.9.0.0/16", "169.254.20.10/32", "port: 27018", "port: 26380", "port: 443", "port: 5353", "kubernetes.io/metadata.name: edge", "tier: edge"} {
		if !strings.Contains(all, part) {
			t.Errorf("%q is not in the policies", part)
		}
	}
	small := render(t, values(t, "testdata/minimal.yaml")).policies["earlybird"]
	if len(small.Spec.Ingress) != 1 || len(small.Spec.Egress) != 3 {
		t.Errorf("without Prometheus and a collector: %+v", small.Spec)
	}
}

// TestServices: what Kong, Prometheus, the budget and the scaler look for is there under
// the labels and names that they look for.
func TestServices(t *testing.T) {
	for _, file := range valueFiles {
		r := render(t, values(t, file))
		pod := r.identity.Spec.Template
		named := map[string]bool{}
		for _, port := range pod.Spec.Containers[0].Ports {
			named[port.Name] = true
		}
		if len(r.services) != 2 {
			t.Errorf("%s: %d Services", file, len(r.services))
		}
		for name, s := range r.services {
			if s.Spec.ClusterIP != "None" || len(s.Spec.Ports) != 1 || !named[s.Spec.Ports[0].TargetPort.StrVal] {
				t.Errorf("%s: the Service %s has the address %q and the ports %+v", file, name, s.Spec.ClusterIP, s.Spec.Ports)
			}
			if !selects(t, &meta.LabelSelector{MatchLabels: s.Spec.Selector}, pod.Labels) || selects(t, &meta.LabelSelector{MatchLabels: s.Spec.Selector}, r.doctor.Spec.Template.Labels) {
				t.Errorf("%s: the Service %s selects %v", file, name, s.Spec.Selector)
			}
		}
		if r.services["earlybird"].Spec.PublishNotReadyAddresses {
			t.Errorf("%s: Kong is sent to replicas that have not started", file)
		}
		if !selects(t, r.identity.Spec.Selector, pod.Labels) || !selects(t, r.budget.Spec.Selector, pod.Labels) || r.budget.Spec.MaxUnavailable.IntValue() != 1 {
			t.Errorf("%s: selector %v, budget %+v", file, r.identity.Spec.Selector, r.budget.Spec)
		}
		spread := pod.Spec.TopologySpreadConstraints
		if len(spread) != 2 || !slices.ContainsFunc(spread, func(c core.TopologySpreadConstraint) bool { return c.TopologyKey == "kubernetes.io/hostname" }) || !selects(t, spread[0].LabelSelector, pod.Labels) {
			t.Errorf("%s: spread by %+v", file, spread)
		}
		if r.monitor == nil {
			continue
		}
		service := r.services["earlybird-metrics"]
		if !selects(t, &r.monitor.Spec.Selector, service.Labels) || selects(t, &r.monitor.Spec.Selector, r.services["earlybird"].Labels) || r.monitor.Spec.Endpoints[0].Port != service.Spec.Ports[0].Name {
			t.Errorf("%s: the monitor selects %+v at %+v", file, r.monitor.Spec.Selector, r.monitor.Spec.Endpoints)
		}
	}
}

// TestRules: Prometheus gets the alarms of deploy/alerts.yml, all of them as they are.
func TestRules(t *testing.T) {
	r := render(t, values(t, "example-values.yaml"))
	var rules any
	if err := yaml.Unmarshal([]byte(read(t, "deploy/alerts.yml")), &rules); err != nil {
		t.Fatal(err)
	}
	document, err := yaml.Marshal(r.rules.Spec)
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := yaml.Unmarshal(document, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, rules) {
		t.Errorf("the PrometheusRule is not deploy/alerts.yml:\n%s", document)
	}
	for _, object := range []meta.Object{r.rules, r.monitor, r.plugins} {
		if object.GetLabels()["release"] != "prometheus" {
			t.Errorf("Prometheus does not select %T: %v", object, object.GetLabels())
		}
	}
}
