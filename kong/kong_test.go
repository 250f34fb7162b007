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
					if !strings.HasPrefix(p.Name, "earlybird-") {
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
	if want := 4 + 2*ownPlugins; changed != want { // protocol, port, type, target; jwks_url and redis_url of each plugin
		t.Errorf("%d lines changed, want %d", changed, want)
	}
}

func TestRenderRefuses(t *testing.T) {
	identity := func(url string) Options { return Options{IdentityURL: url} }
	redis := func(url string) Options { return Options{RedisURL: url} }
	tests := []struct {
		name    string
		options Options
		want    []string
	}{
		{"a scheme", identity("ftp://identity:8081"), []string{"identity URL", `"ftp"`}},
		{"no scheme", identity("identity:8081"), []string{"identity URL", "http"}},
		{"no host", identity("http://"), []string{"there is no host"}},
		{"a path", identity("http://identity/base"), []string{"only scheme, host and port"}},
		{"a user", identity("http://u:hunter2@identity"), []string{"only scheme, host and port"}},
		{"an empty query", identity("http://identity?"), []string{"only scheme, host and port"}},
		{"a port", identity("http://identity:70000"), []string{"port", "65535"}},
		{"port 0", identity("http://identity:0"), []string{"port"}},
		{"a port with zeros", identity("http://identity:00080"), []string{"leading zeros"}},
		{"an empty label", identity("http://a..b"), []string{"not a host name"}},
		{"an asterisk", identity("http://*"), []string{"not a host name"}},
		{"an address that is none", identity("http://10.0.0.256"), []string{"neither a host name nor an address"}},
		{"an address with zeros", identity("http://10.0.0.01"), []string{"neither a host name nor an address"}},
		{"a zone", identity("http://[fe80::1%25eth0]"), []string{"IPv6"}},
		{"IPv4 in IPv6", identity("http://[::ffff:10.0.0.1]"), []string{"IPv6"}},
		{"IPv4 in brackets", identity("http://[10.0.0.1]"), []string{"identity URL"}},
		{"letters beyond ASCII", identity("http://bücher"), []string{"punycode"}},
		{"a space", identity("http://a%20b"), []string{"identity URL"}},
		{"a hyphen at the end", identity("http://a-.b"), []string{"not a host name"}},
		{"https to an address", identity("https://10.0.0.5:8443"), []string{"host name"}},
		{"a reference to nothing", redis("{vault://env/}"), []string{"redis URL", "must name a vault and a secret"}},
		{"a reference that is not closed", redis("{vault://env/x"), []string{"redis URL", "must name a vault and a secret"}},
		{"both at once", Options{IdentityURL: "x", RedisURL: "http://:hunter2@redis"}, []string{"identity URL", "redis URL"}},
		{"a broken Redis URL", redis("redis://:hunter2%@redis"), []string{"redis URL", "percent-encoded"}},
		{"a Redis URL without a host", redis("redis:///0"), []string{"redis URL", "no host"}},
		{"a Redis host", redis("redis://:hunter2@a..b"), []string{"redis URL", "not a host name"}},
		{"a Redis port", redis("redis://:hunter2@a:99999"), []string{"redis URL", "port"}},
		{"Sentinel", redis("redis+sentinel://:hunter2@a,b/0?master=m"), []string{"Sentinel and Cluster go through a reference"}},
		{"an issuer that is no URL", Options{Issuer: "null"}, []string{"issuer"}},
		{"an issuer with http", Options{Issuer: "http://bank.example"}, []string{"issuer", "https://"}},
		{"an issuer with a query", Options{Issuer: "https://bank.example?"}, []string{"issuer", "query"}},
		{"an issuer's host", Options{Issuer: "https://bank..example"}, []string{"issuer", "host name"}},
		{"DEL in an issuer", Options{Issuer: "https://bank.example/\x7f"}, []string{"issuer"}},
		{"what cannot be printed in an issuer", Options{Issuer: "https://bank.example/\u0085"}, []string{"issuer", "cannot be printed"}},
		{"a line break in an audience", Options{Audience: "a\nb"}, []string{"audience", "cannot be printed"}},
		{"an audience that is not UTF-8", Options{Audience: "a\xff"}, []string{"audience", "cannot be printed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := Render(tt.options)
			if err == nil {
				t.Fatal("no error")
			}
			if out != nil {
				t.Error("and a file")
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

// TestRenderQuotes: what YAML 1.1 reads as something else stays a string.
func TestRenderQuotes(t *testing.T) {
	for _, audience := range []string{"null", "~", "on", "yes", "123", "0x1e", "1:30", "<<", "*a", "&a", "a: b", "a #b", `"`, `\`, `\n`, "'", "{}", " a ", "é", "\U0001F600", "- a", "!!int 1", "a\"b\\c"} {
		out, err := Render(Options{Audience: audience})
		if err != nil {
			t.Errorf("%q: %v", audience, err)
			continue
		}
		top, err := parse("kong.yml", out)
		if err != nil {
			t.Fatalf("%q: %v", audience, err)
		}
		for _, config := range ownConfigs(top) {
			if got := scalar(get(config, "audience")); got != audience {
				t.Errorf("%q became %v", audience, got)
			}
		}
	}
}

// TestRenderChecksItsResult: a value that would be read as another is noticed.
func TestRenderChecksItsResult(t *testing.T) {
	for _, out := range []string{
		strings.ReplaceAll(string(declarative), "audience: earlybird", "audience: bank"), // not what was asked for
		strings.ReplaceAll(string(declarative), "audience: earlybird", "audience: on"),
		string(declarative) + "a: [",
	} {
		if err := (Options{Audience: "earlybird", IdentityURL: "http://identity:8081"}).verify([]byte(out)); err == nil {
			t.Errorf("a wrong result passes: %.80s", out)
		}
	}
	if err := (Options{Audience: "earlybird", IdentityURL: "http://identity:8081"}).verify(declarative); err != nil {
		t.Error(err)
	}
}

// TestRenderNamesWhatHTTPSNeeds: each setting that Kong needs beside the file.
func TestRenderNamesWhatHTTPSNeeds(t *testing.T) {
	out, err := Render(Options{IdentityURL: "https://id.example"})
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range []string{"nginx_proxy_proxy_ssl_verify ", "nginx_proxy_proxy_ssl_trusted_certificate", "lua_ssl_trusted_certificate", "SSL_CERT_FILE", "\n    tls_verify: true\n"} {
		if !strings.Contains(string(out), setting) {
			t.Errorf("it does not name %s", setting)
		}
	}
}
