package deploy_test

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"

	"github.com/earlybird/earlybird/identity/redisdb"
	"github.com/earlybird/earlybird/kong"
	"github.com/earlybird/earlybird/plugin/schema"
	"github.com/earlybird/earlybird/plugin/settings"
)

// kongConf reads kong.conf the way Kong does: name = value, # begins a comment.
func kongConf(t *testing.T) map[string]string {
	t.Helper()
	conf := map[string]string{}
	for line := range strings.Lines(read(t, "kong/kong.conf")) {
		line, _, _ = strings.Cut(line, "#")
		name, value, ok := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); name == "" && !ok {
			continue
		}
		if _, twice := conf[name]; !ok || twice {
			t.Errorf("kong.conf: %q is no setting, or given twice", line)
		}
		conf[name] = strings.TrimSpace(value)
	}
	return conf
}

func list(value string) []string {
	var all []string
	for item := range strings.SplitSeq(value, ",") {
		all = append(all, strings.TrimSpace(item))
	}
	return all
}

func TestKongConfNamesThePlugins(t *testing.T) {
	conf := kongConf(t)
	names := []string{settings.AuthName, settings.TagName}
	if got := list(conf["plugins"]); !slices.Equal(got, append([]string{"bundled"}, names...)) {
		t.Errorf("plugins = %v", got)
	}
	if got := list(conf["pluginserver_names"]); !slices.Equal(got, names) {
		t.Errorf("pluginserver_names = %v", got)
	}
	for key := range conf {
		name, isServer := strings.CutPrefix(key, "pluginserver_earlybird_")
		if !isServer {
			continue
		}
		plugin, what, _ := strings.Cut(name, "_")
		if !slices.Contains(names, "earlybird-"+plugin) || !slices.Contains([]string{"socket", "start_cmd", "query_cmd"}, what) {
			t.Errorf("%s: no such plugin server or setting", key)
		}
	}
}

// TestKongConfStartsThePlugins runs the two commands of each plugin server, as
// built from its source, and looks for the socket that Kong would connect to.
func TestKongConfStartsThePlugins(t *testing.T) {
	conf := kongConf(t)
	for name, want := range settings.Schemas() {
		t.Run(name, func(t *testing.T) {
			file := program(t, "./plugin/"+name)
			key := "pluginserver_" + strings.ReplaceAll(name, "-", "_")
			query, start := strings.Fields(conf[key+"_query_cmd"]), strings.Fields(conf[key+"_start_cmd"])
			for _, command := range [][]string{query, start} {
				if len(command) == 0 || command[0] != "/usr/local/bin/"+name {
					t.Fatalf("command %q does not start the program that the image has", command)
				}
			}
			checkDump(t, run(t, file, query[1:]...), name, conf[key+"_socket"], want)

			prefix := t.TempDir()
			for i, word := range start {
				start[i] = strings.ReplaceAll(word, conf["prefix"], prefix)
			}
			socket := strings.ReplaceAll(conf[key+"_socket"], conf["prefix"], prefix)
			ctx, stop := context.WithCancel(context.Background())
			cmd := exec.CommandContext(ctx, file, start[1:]...)
			cmd.Env = []string{} // as Kong starts it
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { stop(); _ = cmd.Wait() })
			waitForSocket(t, socket)
		})
	}
}

func checkDump(t *testing.T, dump, name, socket string, want schema.Schema) {
	t.Helper()
	var got struct {
		Protocol   string
		SocketPath string
		Plugins    []struct {
			Name   string
			Schema schema.Schema
		}
	}
	if err := json.Unmarshal([]byte(dump), &got); err != nil || len(got.Plugins) != 1 {
		t.Fatalf("dump of %s: %v\n%s", name, err, dump)
	}
	if got.Protocol != "ProtoBuf:1" || got.Plugins[0].Name != name {
		t.Errorf("dump of %s: protocol %q, name %q", name, got.Protocol, got.Plugins[0].Name)
	}
	if got.SocketPath != socket {
		t.Errorf("dump of %s: socket %q, kong.conf has %q", name, got.SocketPath, socket)
	}
	mine, err1 := json.Marshal(want)
	theirs, err2 := json.Marshal(got.Plugins[0].Schema)
	if err1 != nil || err2 != nil || string(mine) != string(theirs) {
		t.Errorf("dump of %s has another schema:\n%s\n%s", name, theirs, mine)
	}
}

func waitForSocket(t *testing.T, socket string) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var conn net.Conn
		if conn, err = net.Dial("unix", socket); err == nil {
			_ = conn.Close()
			return
		}
	}
	t.Errorf("nothing listens where Kong would connect: %v", err)
}

// TestKongConfBoundsAHungPlugin: Kong waits for a plugin longer than any
// plugin may take, and far less than a minute.
func TestKongConfBoundsAHungPlugin(t *testing.T) {
	timeout, err := time.ParseDuration(kongConf(t)["nginx_http_lua_socket_read_timeout"])
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range settings.TagSchema().Config().Fields {
		if f.Name == "claim_timeout" && timeout <= time.Duration(f.Spec.Between[1])*time.Millisecond {
			t.Errorf("Kong waits %s, claim_timeout may be %d ms", timeout, f.Spec.Between[1])
		}
	}
	if timeout > 30*time.Second {
		t.Errorf("a plugin that hangs holds its requests for %s", timeout)
	}
}

// TestIdentityOverHTTPS: the block of edge.md has the three settings that a Kong
// needed for it, for one file of authorities and the commands of kong.conf, and
// `kong render` and kong.conf lead there.
func TestIdentityOverHTTPS(t *testing.T) {
	_, section, found := strings.Cut(read(t, "deploy/docs/edge.md"), "\n## identity over https\n")
	if !found {
		t.Fatal("edge.md has no such section")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	block := map[string]string{}
	for line := range strings.Lines(section) {
		if line, isCode := strings.CutPrefix(line, "    "); isCode && !strings.HasPrefix(line, "#") {
			name, value, _ := strings.Cut(line, " = ")
			block[name] = strings.TrimSpace(value)
		}
	}
	conf, ca := kongConf(t), block["nginx_proxy_proxy_ssl_trusted_certificate"]
	want := map[string]string{
		"nginx_proxy_proxy_ssl_verify":              "on",
		"nginx_proxy_proxy_ssl_trusted_certificate": ca,
		"lua_ssl_trusted_certificate":               conf["lua_ssl_trusted_certificate"] + "," + ca,
	}
	for _, name := range []string{"pluginserver_earlybird_auth_start_cmd", "pluginserver_earlybird_tag_start_cmd"} {
		want[name] = "/usr/bin/env SSL_CERT_FILE=" + ca + " " + conf[name]
	}
	if !strings.HasPrefix(ca, "/") || !maps.Equal(block, want) {
		t.Errorf("the block is %v, want %v", block, want)
	}
	out, err := kong.Render(kong.Options{IdentityURL: "https://identity.example"})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"kong render": string(out), "kong.conf": read(t, "kong/kong.conf")} {
		for _, what := range []string{"nginx_proxy_proxy_ssl_verify", "nginx_proxy_proxy_ssl_trusted_certificate", "lua_ssl_trusted_certificate", "SSL_CERT_FILE", "deploy/docs/edge.md"} {
			if !strings.Contains(text, what) {
				t.Errorf("%s does not name %s", name, what)
			}
		}
	}
}

// TestKongConfFitsCompose: folders, ports and secrets are the container's.
func TestKongConfFitsCompose(t *testing.T) {
	conf, s := kongConf(t), compose(t).Services["kong"]
	writable := slices.ContainsFunc(s.Tmpfs, func(m string) bool { path, _, _ := strings.Cut(m, ":"); return path == conf["prefix"] })
	if !writable {
		t.Errorf("Kong cannot write its prefix %s", conf["prefix"])
	}
	tlsPort := map[uint32]bool{}
	for _, listener := range list(conf["proxy_listen"]) {
		words := strings.Fields(listener)
		_, port, err := net.SplitHostPort(words[0])
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		tlsPort[uint32(n)] = slices.Contains(words, "ssl")
	}
	if len(s.Ports) != len(tlsPort) {
		t.Errorf("publishes %v, listens on %v", s.Ports, tlsPort)
	}
	for _, p := range s.Ports {
		tls, listens := tlsPort[p.Target]
		if !listens || (p.Target == 8443) != tls {
			t.Errorf("port %d: listens %v, with TLS %v", p.Target, listens, tls)
		}
		if !tls && p.HostIP != "127.0.0.1" {
			t.Errorf("port %d is published without TLS beyond this machine", p.Target)
		}
	}
	for _, key := range []string{"ssl_cert", "ssl_cert_key"} {
		given := slices.ContainsFunc(s.Secrets, func(r types.ServiceSecretConfig) bool { return "/run/secrets/"+r.Source == conf[key] })
		if !given {
			t.Errorf("%s = %s is no secret that it is given", key, conf[key])
		}
	}
	if conf["admin_listen"] != "off" {
		t.Errorf("admin_listen = %s", conf["admin_listen"])
	}
}

// TestKongGetsItsRedisURL runs the image's entrypoint with the container's
// settings and follows the reference in kong.yml.
func TestKongGetsItsRedisURL(t *testing.T) {
	var doc struct {
		Services []struct {
			Routes []struct {
				Plugins []struct{ Config map[string]any }
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "kong/kong.yml")), &doc); err != nil {
		t.Fatal(err)
	}
	reference := ""
	for _, r := range doc.Services[0].Routes {
		for _, p := range r.Plugins {
			if url, ok := p.Config["redis_url"].(string); ok {
				reference = url
			}
		}
	}
	name := strings.TrimSuffix(strings.TrimPrefix(reference, "{vault://env/"), "}")
	variable := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))

	env := environment(compose(t).Services["kong"])
	password := filepath.Join(t.TempDir(), "redis_password")
	for _, tt := range []struct{ name, url, password, want, says string }{
		{"a password", env[variable], "abc-123", "redis://:abc-123@redis:6379/0", ""},
		{"TLS", "rediss://redis:6380", "abc\n", "rediss://:abc@redis:6380", ""},
		{"no password", env[variable], "", "", "letters, digits"},
		{"a password that is no part of a URL", env[variable], "a@b", "", "letters, digits"},
		{"a user", "redis://kong@redis:6379/0", "abc", "redis://kong:abc@redis:6379/0", ""},
		{"an @ that is no user's", "redis://redis/0?client_name=a@b", "abc", "redis://:abc@redis/0?client_name=a@b", ""},
		{"Sentinel", "redis+sentinel://kong@a:26379,b/0?master=m", "abc", "redis+sentinel://kong:abc@a:26379,b/0?master=m", ""},
		{"Cluster with TLS", "rediss+cluster://a,b:6380", "abc", "rediss+cluster://:abc@a,b:6380", ""},
		{"a password already", "redis://:hunter2@redis", "abc", "", "already has a password"},
		{"a user and a password already", "redis://kong:hunter2@redis", "abc", "", "already has a password"},
		{"no URL", "", "abc", "", "set EARLYBIRD_REDIS_URL"},
		{"not a URL", "redis:6379", "abc", "", "must begin with redis://, redis+sentinel:// or redis+cluster://"},
		{"another scheme", "http://redis", "abc", "", "must begin with"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(password, []byte(tt.password), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sh", filepath.Join(root, "kong", "entrypoint.sh"), "-c", `printf %s "$`+variable+`"`)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "KONG_ENTRYPOINT=sh", variable + "=" + tt.url, "EARLYBIRD_REDIS_PASSWORD_FILE=" + password}
			out, err := cmd.CombinedOutput()
			if (err == nil) != (tt.want != "") || (tt.want != "" && string(out) != tt.want) || !strings.Contains(string(out), tt.says) || strings.Contains(string(out), "hunter2") {
				t.Errorf("%v, %q; want %q or an error that says %q", err, out, tt.want, tt.says)
			}
			if tt.want == "" {
				return
			}
			client, err := redisdb.Connect(redisdb.Config{URL: string(out)})
			if err != nil {
				t.Fatal(err)
			}
			_ = client.Close()
		})
	}
}

func TestKongYMLIsValid(t *testing.T) {
	if err := kong.Validate("kong.yml", []byte(read(t, "kong/kong.yml"))); err != nil {
		t.Error(err)
	}
}
