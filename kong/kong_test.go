package kong

import (
	"bytes"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// ownPlugins is how often kong.yml configures one of the project's plugins.
const ownPlugins = 4

// rendered reads the parts of a kong.yml that Render changes.
type rendered struct {
	Upstreams []struct {
		Targets      []struct{ Target string }
		Healthchecks struct{ Active struct{ Type string } }
	}
	Services []struct {
		Protocol, Host string
		Port           int
		TLSVerify      *bool `yaml:"tls_verify"`
		Routes         []struct {
			Name    string
			Plugins []struct {
				Name   string
				Config map[string]any
			}
		}
	}
}

// TestRenderAudience: the audience of one-time passwords, which is accepted on
// the route that changes a password alone, follows the other.
func TestRenderAudience(t *testing.T) {
	out, err := Render(Options{Audience: "the bank"})
	if err != nil {
		t.Fatal(err)
	}
	var got rendered
	if err := yaml.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, r := range got.Services[0].Routes {
		for _, p := range r.Plugins {
			seen++
			var also any
			if r.Name == "password" {
				also = "the bank/password"
			}
			if p.Config["audience"] != "the bank" || p.Config["also_audience"] != also {
				t.Errorf("route %s: audience %v, also %v", r.Name, p.Config["audience"], p.Config["also_audience"])
			}
		}
	}
	if seen != ownPlugins {
		t.Errorf("%d plugins, want %d", seen, ownPlugins)
	}
}

func TestRender(t *testing.T) {
	tests := []struct {
		name             string
		options          Options
		target, protocol string
		port             int
		jwks, redis, iss string
	}{
		{
			name:   "nothing changes nothing",
			target: "identity:8081", protocol: "http", port: 8081,
			jwks: "http://identity:8081/.well-known/jwks.json", redis: "{vault://env/earlybird-redis-url}", iss: "https://earlybird.example",
		},
		{
			name:    "one machine",
			options: Options{IdentityURL: "http://127.0.0.1:8081", RedisURL: "redis://127.0.0.1:6479/0"},
			target:  "127.0.0.1:8081", protocol: "http", port: 8081,
			jwks: "http://127.0.0.1:8081/.well-known/jwks.json", redis: "redis://127.0.0.1:6479/0", iss: "https://earlybird.example",
		},
		{
			name:    "https without a port, a trailing slash, a password and an issuer",
			options: Options{IdentityURL: "https://id.bank.example/", RedisURL: `rediss://:a%22b@r.bank.example:6380/1`, Issuer: "https://bank.example"},
			target:  "id.bank.example:443", protocol: "https", port: 443,
			jwks: "https://id.bank.example/.well-known/jwks.json", redis: `rediss://:a%22b@r.bank.example:6380/1`, iss: "https://bank.example",
		},
		{
			name:    "IPv6",
			options: Options{IdentityURL: "http://[::1]:9000", RedisURL: "{vault://hcv/redis}"},
			target:  "[::1]:9000", protocol: "http", port: 9000,
			jwks: "http://[::1]:9000/.well-known/jwks.json", redis: "{vault://hcv/redis}", iss: "https://earlybird.example",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := Render(tt.options)
			if err != nil {
				t.Fatal(err)
			}
			var got rendered
			if err := yaml.Unmarshal(out, &got); err != nil {
				t.Fatalf("not YAML: %v\n%s", err, out)
			}
			up, svc := got.Upstreams[0], got.Services[0]
			if up.Targets[0].Target != tt.target || up.Healthchecks.Active.Type != tt.protocol {
				t.Errorf("upstream = %+v, want target %s, type %s", up, tt.target, tt.protocol)
			}
			if svc.Protocol != tt.protocol || svc.Port != tt.port || svc.Host != upstreamName {
				t.Errorf("service = %s %s %d, want %s %s %d", svc.Protocol, svc.Host, svc.Port, tt.protocol, upstreamName, tt.port)
			}
			if verified := svc.TLSVerify != nil && *svc.TLSVerify; verified != (tt.protocol == "https") {
				t.Errorf("over %s, tls_verify = %v", tt.protocol, verified)
			}
			seen := 0
			for _, r := range svc.Routes {
				for _, p := range r.Plugins {
					if !own(p.Name) {
						continue
					}
					seen++
					for field, want := range map[string]string{"jwks_url": tt.jwks, "redis_url": tt.redis, "issuer": tt.iss, "audience": "earlybird"} {
						if p.Config[field] != want {
							t.Errorf("route %s, plugin %s: %s = %v, want %s", r.Name, p.Name, field, p.Config[field], want)
						}
					}
				}
			}
			if seen != ownPlugins {
				t.Errorf("saw %d plugins of the project's own, want %d", seen, ownPlugins)
			}
		})
	}
}

func TestRenderKeepsEverythingElse(t *testing.T) {
	same, err := Render(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(same, declarative) {
		t.Error("Render without options is not kong.yml byte for byte")
	}
	other, err := Render(Options{IdentityURL: "http://id.example", RedisURL: "redis://r:1/0"})
	if err != nil {
		t.Fatal(err)
	}
	before, after := bytes.Split(declarative, []byte("\n")), bytes.Split(other, []byte("\n"))
	if len(before) != len(after) {
		t.Fatalf("%d lines became %d", len(before), len(after))
	}
	changed := 0
	for i := range before {
		if !bytes.Equal(before[i], after[i]) {
			changed++
		}
	}
	if want := 2 + 2*ownPlugins; changed != want { // port, target; jwks_url and redis_url of each plugin
		t.Errorf("%d lines changed, want %d", changed, want)
	}
}

func TestRenderRefuses(t *testing.T) {
	tests := []struct {
		name    string
		options Options
		want    []string
	}{
		{"a scheme", Options{IdentityURL: "ftp://identity:8081"}, []string{"identity URL", `"ftp"`}},
		{"no scheme", Options{IdentityURL: "identity:8081"}, []string{"identity URL", "http"}},
		{"no host", Options{IdentityURL: "http://"}, []string{"there is no host"}},
		{"a path", Options{IdentityURL: "http://identity/base"}, []string{"only scheme, host and port"}},
		{"a user", Options{IdentityURL: "http://u:hunter2@identity"}, []string{"only scheme, host and port"}},
		{"a port", Options{IdentityURL: "http://identity:70000"}, []string{"port", "65535"}},
		{"https to an address", Options{IdentityURL: "https://10.0.0.5:8443"}, []string{"host name"}},
		{"a reference to nothing", Options{RedisURL: "{vault://env/}"}, []string{"redis URL", "must name a vault and a secret"}},
		{"both at once", Options{IdentityURL: "x", RedisURL: "http://:hunter2@redis"}, []string{"identity URL", "redis URL"}},
		{"a broken Redis URL", Options{RedisURL: "redis://:hunter2%@redis"}, []string{"redis URL", "percent-encoded"}},
		{"a Redis URL without a host", Options{RedisURL: "redis:///0"}, []string{"redis URL", "no host"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Render(tt.options)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q repeats a password", err)
			}
		})
	}
}
