package helm

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDefaultsAreRefused: what must be given is named, all of it at once, each with
// the reason. Checked by leaving a line of _check.tpl out.
func TestDefaultsAreRefused(t *testing.T) {
	_, err := templates(nil)
	if err == nil {
		t.Fatal("the chart renders without a value")
	}
	required := []string{"image.repository", "image.tag", "issuer", "trustedProxies", "mongo.url", "redis.url", "keySecret.name"}
	for _, name := range required {
		if !regexp.MustCompile(`\n  - ` + regexp.QuoteMeta(name) + ` must be given: .{20}`).MatchString(err.Error()) {
			t.Errorf("%s is not named with a reason in\n%v", name, err)
		}
	}
	if n := strings.Count(err.Error(), "\n  - "); n != len(required) {
		t.Errorf("%d faults, want %d:\n%v", n, len(required), err)
	}
	for _, name := range required {
		v := set(t, values(t, "testdata/minimal.yaml"), name+"="+map[bool]string{true: "[]", false: `""`}[name == "trustedProxies"])
		if _, err := templates(v); err == nil || !strings.Contains(err.Error(), name+" must be given") || strings.Count(err.Error(), "\n  - ") != 1 {
			t.Errorf("without %s: %v", name, err)
		}
		if !strings.Contains(read(t, "deploy/docs/kubernetes.md"), "`"+name+"`") {
			t.Errorf("kubernetes.md does not say that %s must be given", name)
		}
	}
}

// TestRefused: values that cannot work are refused by their names, and what may be a
// password is never repeated.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		changes []string
		says    []string
	}{
		{"an inline password", []string{"mongo.password=hunter2", "redis.password=hunter2", "keySecret.value=hunter2"}, []string{"'/mongo'", "'/redis'", "'/keySecret'", "'password'", "'value'"}},
		{"a password in a URL", []string{`mongo.url="mongodb://u:hunter2@mongo/earlybird"`, `redis.url="redis://:hunter2@redis"`}, []string{"mongo.url has a password", "mongo.passwordSecret", "redis.url has a password", "redis.passwordSecret"}},
		{"a user without a password", []string{"mongo.user=earlybird"}, []string{"mongo.user and mongo.passwordSecret.name belong together"}},
		{"a port that the policy closes", []string{`mongo.url="mongodb://u@a:27017,b:27018/earlybird"`, `redis.url="rediss+sentinel://[::1]:26379,b:26380"`}, []string{"networkPolicy.mongo.ports lacks the port 27018 of mongo.url", "networkPolicy.redis.ports lacks the port 26379 of redis.url", "lacks the port 26380"}},
		{"everybody's word for an address", []string{`trustedProxies=["10.0.0.0/8","0.0.0.0/0"]`}, []string{"trustedProxies must not be every address"}},
		{"no networks", []string{`trustedProxies=["kong"]`}, []string{"'/trustedProxies/0'"}},
		{"http as the issuer", []string{`issuer="http://login.example"`}, []string{"'/issuer'"}},
		{"no version", []string{"image.tag=latest"}, []string{"'/image/tag'"}},
		{"misspelt", []string{"mongoUrl=x", "settings.min-pasword-length=15"}, []string{"'mongoUrl'", "'/settings'", "'min-pasword-length'"}},
		{"what has a value of its own", []string{`settings.listen=":9"`, `settings.hash-concurrency=9`}, []string{"'/settings'", "'listen'", "'hash-concurrency'"}},
		{"one replica to scale down to", []string{"autoscaling={enabled: true, minReplicas: 1}"}, []string{"'/autoscaling/minReplicas'"}},
		{"more at least than at most", []string{"autoscaling={enabled: true, minReplicas: 7}"}, []string{"autoscaling.minReplicas is over autoscaling.maxReplicas"}},
		{"metrics that nobody may read", []string{"monitoring.enabled=true"}, []string{"networkPolicy.prometheus must be given with monitoring.enabled"}},
		{"no time to stop", []string{"shutdown={delaySeconds: 0, graceSeconds: 1}"}, []string{"'/shutdown/delaySeconds'", "'/shutdown/graceSeconds'"}},
		{"no hash at all", []string{"hashConcurrency=0"}, []string{"'/hashConcurrency'"}},
		{"a peer that is everybody", []string{"networkPolicy.mongo.to=[{}]"}, []string{"'/networkPolicy/mongo/to/0'"}},
		{"a password in Kong's URL", []string{`kong.url="https://u:hunter2@kong"`}, []string{"kong.url has a user in it"}},
		{"a gateway that is no URL", []string{"kong.url=kong"}, []string{"'/kong/url'"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := templates(set(t, values(t, "testdata/minimal.yaml"), tt.changes...))
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, part := range tt.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in\n%v", part, err)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("it repeats the password:\n%v", err)
			}
		})
	}
}

// TestValuesAreWhole: everything.yaml gives every value that there is, so that each is
// rendered and decoded, and gives it another value than the default. Checked by leaving
// one out.
func TestValuesAreWhole(t *testing.T) {
	defaults, all := flat(values(t, chartDir+"/values.yaml")), flat(values(t, "testdata/everything.yaml"))
	for _, name := range slices.Sorted(maps.Keys(defaults)) {
		given := all[name]
		if below, ok := defaults[name].(map[string]any); ok && len(below) == 0 { // a map of the operator's own
			given = slices.ContainsFunc(slices.Collect(maps.Keys(all)), func(n string) bool { return strings.HasPrefix(n, name+".") })
		}
		if name != "networkPolicy.enabled" && (given == nil || given == false || reflect.DeepEqual(given, defaults[name])) { // open.yaml switches it off
			t.Errorf("testdata/everything.yaml does not change %s", name)
		}
	}
}

// flat names the leaves of values: a.b.c.
func flat(v map[string]any) map[string]any {
	leaves := map[string]any{}
	for name, value := range v {
		below, ok := value.(map[string]any)
		if !ok || len(below) == 0 {
			leaves[name] = value
			continue
		}
		for under, leaf := range flat(below) {
			leaves[name+"."+under] = leaf
		}
	}
	return leaves
}
