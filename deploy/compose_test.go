package deploy_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// root is the project's root, from the folder the tests run in.
const root = ".."

// compose loads docker-compose.yml as docker compose does.
func compose(t *testing.T) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  dir,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "docker-compose.yml")}},
	}, func(o *loader.Options) {
		o.SetProjectName("earlybird", true)
		o.Profiles = []string{"*"}
	})
	if err != nil {
		t.Fatalf("docker-compose.yml: %v", err)
	}
	return project
}

// environment returns the variables of a service.
func environment(s types.ServiceConfig) map[string]string {
	set := map[string]string{}
	for name, value := range s.Environment {
		if value != nil {
			set[name] = *value
		}
	}
	return set
}

func TestComposeHardens(t *testing.T) {
	for name, s := range compose(t).Services {
		t.Run(name, func(t *testing.T) {
			if !s.ReadOnly {
				t.Error("its root file system can be written")
			}
			if !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.Privileged {
				t.Errorf("capabilities: drops %v, adds %v", s.CapDrop, s.CapAdd)
			}
			if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
				t.Error("may gain privileges")
			}
			if s.Deploy == nil || s.Deploy.Resources.Limits == nil || s.Deploy.Resources.Limits.MemoryBytes == 0 ||
				s.Deploy.Resources.Limits.NanoCPUs == 0 || s.Deploy.Resources.Limits.Pids == 0 {
				t.Error("lacks a limit of memory, processors or processes")
			}
			if strings.HasSuffix(s.Image, ":latest") || (s.Build == nil && !strings.Contains(s.Image, ":")) {
				t.Errorf("image %q names no version", s.Image)
			}
			if s.Build == nil && (s.User == "" || strings.HasPrefix(s.User, "0")) {
				t.Errorf("runs as %q", s.User)
			}
			if (name == "kong") != (len(s.Ports) > 0) {
				t.Errorf("publishes %v", s.Ports)
			}
		})
	}
}

func TestComposeStartOrder(t *testing.T) {
	project := compose(t)
	want := map[string]map[string]string{
		"kong":         {"identity": types.ServiceConditionHealthy, "redis": types.ServiceConditionHealthy},
		"identity":     {"mongodb-init": types.ServiceConditionCompletedSuccessfully, "redis": types.ServiceConditionHealthy},
		"mongodb-init": {"mongodb": types.ServiceConditionHealthy},
		"earlybird":    {"identity": types.ServiceConditionHealthy},
	}
	for name, s := range project.Services {
		if len(s.DependsOn) != len(want[name]) {
			t.Errorf("%s waits for %v, want %v", name, s.DependsOn, want[name])
		}
		for on, condition := range want[name] {
			if s.DependsOn[on].Condition != condition {
				t.Errorf("%s waits for %s %q, want %q", name, on, s.DependsOn[on].Condition, condition)
			}
			if condition == types.ServiceConditionHealthy && (project.Services[on].HealthCheck == nil || len(project.Services[on].HealthCheck.Test) < 2) {
				t.Errorf("%s waits for the health of %s, which has no check", name, on)
			}
		}
	}
}

// TestComposeNetworks: Kong alone is reachable, and cannot reach MongoDB.
func TestComposeNetworks(t *testing.T) {
	project := compose(t)
	want := map[string][]string{
		"kong": {"claims", "edge", "service"}, "identity": {"claims", "data", "service"}, "mongodb": {"data"},
		"mongodb-init": {"data"}, "redis": {"claims"}, "earlybird": {"claims", "data", "service"},
	}
	for name, s := range project.Services {
		var on []string
		for network := range s.Networks {
			on = append(on, network)
		}
		slices.Sort(on)
		if !slices.Equal(on, want[name]) {
			t.Errorf("%s is on %v, want %v", name, on, want[name])
		}
	}
	for name, n := range project.Networks {
		if bool(n.Internal) != (name != "edge") {
			t.Errorf("network %s: internal is %v", name, n.Internal)
		}
	}
	trusted := netip.MustParsePrefix(environment(project.Services["identity"])["EARLYBIRD_TRUSTED_PROXIES"])
	if subnet := netip.MustParsePrefix(project.Networks["service"].Ipam.Config[0].Subnet); subnet != trusted {
		t.Errorf("identity trusts %s, Kong is on %s", trusted, subnet)
	}
}

func TestComposeScalesIdentity(t *testing.T) {
	s := compose(t).Services["identity"]
	if s.ContainerName != "" || len(s.Ports) > 0 || s.Hostname != "" || len(s.Volumes) > 0 {
		t.Errorf("a second replica would collide: name %q, ports %v, host name %q, volumes %v", s.ContainerName, s.Ports, s.Hostname, s.Volumes)
	}
}

// TestComposeSettings: every variable is one that the program reads, and the
// stores' addresses parse.
func TestComposeSettings(t *testing.T) {
	project := compose(t)
	known := map[string]string{
		"identity":  run(t, program(t, "./identity"), "--help"),
		"earlybird": run(t, program(t, "./admin"), "doctor", "--help"),
		"kong":      read(t, "kong/entrypoint.sh"),
	}
	for name, help := range known {
		env := environment(project.Services[name])
		for variable, value := range env {
			if !regexp.MustCompile(`\$\{?` + variable + `\b`).MatchString(help) {
				t.Errorf("%s: %s is no setting of it", name, variable)
			}
			if strings.HasSuffix(variable, "_FILE") && !strings.HasPrefix(value, "/run/secrets/") {
				t.Errorf("%s: %s = %s is not a secret", name, variable, value)
			}
		}
		if url, ok := env["EARLYBIRD_MONGO_URL"]; ok {
			if err := (mongostore.Config{URL: url}).Validate(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		client, err := redisdb.Connect(redisdb.Config{URL: env["EARLYBIRD_REDIS_URL"]})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, passed := project.Services["earlybird"].Environment["EARLYBIRD_ADMIN"]; !passed {
		t.Error("earlybird does not learn who is at work: EARLYBIRD_ADMIN")
	}
	identity := environment(project.Services["identity"])
	if want := "replicaSet=earlybird"; !strings.Contains(identity["EARLYBIRD_MONGO_URL"], want) ||
		!strings.Contains(read(t, "deploy/compose/mongodb-start.sh"), "--replSet earlybird ") ||
		!strings.Contains(read(t, "deploy/compose/mongodb-init.js"), `_id: "earlybird"`) {
		t.Error("the replica set's name is not the same everywhere")
	}
	if user := identity["EARLYBIRD_MONGO_USER"]; !strings.Contains(read(t, "deploy/compose/mongodb-init.js"), `user: "`+user+`"`) {
		t.Errorf("mongodb-init.js makes no user %q", user)
	}
}

// TestComposeHealthcheckOfIdentity: the command exists, and where.
func TestComposeHealthcheckOfIdentity(t *testing.T) {
	check := compose(t).Services["identity"].HealthCheck.Test
	if want := []string{"CMD", "/usr/local/bin/earlybird-identity", "healthcheck"}; !slices.Equal(check, want) {
		t.Fatalf("health check %q, want %q", check, want)
	}
	if !strings.Contains(run(t, program(t, "./identity"), "--help"), "healthcheck") {
		t.Error("earlybird-identity has no healthcheck command")
	}
}

// TestComposeFiles: what is mounted is there, and what starts it as well.
func TestComposeFiles(t *testing.T) {
	for name, s := range compose(t).Services {
		started := append(append([]string{}, s.Entrypoint...), s.Command...)
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s mounts what is not there: %v", name, err)
			}
			if !v.ReadOnly {
				t.Errorf("%s may write %s", name, v.Source)
			}
		}
		for _, word := range started {
			if !strings.HasPrefix(word, "/etc/earlybird/") {
				continue
			}
			mounted := slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == word })
			if !mounted {
				t.Errorf("%s starts %s, which is not mounted", name, word)
			}
		}
	}
}

func TestRedisKeepsWhatItWasTold(t *testing.T) {
	conf := "\n" + read(t, "deploy/compose/redis.conf")
	for _, line := range []string{"appendonly yes", "appendfsync always", "maxmemory-policy noeviction", "include /run/redis/password.conf"} {
		if !strings.Contains(conf, "\n"+line+"\n") {
			t.Errorf("redis.conf lacks %q", line)
		}
	}
	if !strings.Contains(read(t, "deploy/compose/redis-start.sh"), "/run/redis/password.conf") {
		t.Error("redis-start.sh does not write what redis.conf includes")
	}
}
