package deploy_test

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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
	return composeWith(t, nil)
}

// composeWith loads it with variables of an operator's.
func composeWith(t *testing.T, variables types.Mapping) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  dir,
		Environment: variables,
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
			if s.Logging == nil || s.Logging.Options["max-size"] == "" || s.Logging.Options["max-file"] == "" {
				t.Error("its log grows without a bound")
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
		// earlybird waits for nothing: `docker compose run` starts what a service
		// depends on, sets its replicas back to what a command line last said
		// (docker/compose#4803), and refuses when that is unhealthy.
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

// TestComposeNetworks: Kong alone is reachable, and cannot reach MongoDB. Two
// services that talk share one network: by a name that they share several by,
// Docker gives the address on the alphabetically first of them, so that Kong
// reached identity from outside --trusted-proxies and all clients shared one limit.
func TestComposeNetworks(t *testing.T) {
	project := compose(t)
	want := map[string][]string{
		"kong": {"edge", "mirror", "service"}, "identity": {"claims", "data", "service"}, "mongodb": {"data"},
		"mongodb-init": {"data"}, "redis": {"claims", "mirror"}, "earlybird": {"claims", "data", "service"},
	}
	on := map[string][]string{}
	for name, s := range project.Services {
		on[name] = slices.Sorted(maps.Keys(s.Networks))
		if !slices.Equal(on[name], want[name]) {
			t.Errorf("%s is on %v, want %v", name, on[name], want[name])
		}
	}
	for _, talk := range []struct{ from, to, by string }{
		{"kong", "identity", "service"},
		{"kong", "redis", "mirror"},
		{"identity", "redis", "claims"},
		{"identity", "mongodb", "data"},
		{"mongodb-init", "mongodb", "data"},
		{"earlybird", "kong", "service"},
		{"earlybird", "mongodb", "data"},
		{"earlybird", "redis", "claims"},
	} {
		both := slices.DeleteFunc(slices.Clone(on[talk.from]), func(n string) bool { return !slices.Contains(on[talk.to], n) })
		if !slices.Equal(both, []string{talk.by}) {
			t.Errorf("%s and %s share %v, want %s alone", talk.from, talk.to, both, talk.by)
		}
	}
	for name, n := range project.Networks {
		if bool(n.Internal) != (name != "edge") {
			t.Errorf("network %s: internal is %v", name, n.Internal)
		}
	}
}

// TestComposeVariables: the network that identity trusts is the one that Kong
// comes from, wherever an operator puts it, and outside what clouds and Docker use
// by themselves; the replicas are the file's.
func TestComposeVariables(t *testing.T) {
	tests := []struct {
		name         string
		variables    types.Mapping
		subnet       string
		replicas     int
		retention    string
		registration string
	}{
		{"nothing set", nil, "10.213.81.0/24", 1, "400d", "open"},
		{"all set", types.Mapping{
			"EARLYBIRD_SERVICE_SUBNET": "192.0.2.0/24", "EARLYBIRD_REPLICAS": "3", "EARLYBIRD_AUDIT_RETENTION": "800d", "EARLYBIRD_REGISTRATION": "code",
		}, "192.0.2.0/24", 3, "800d", "code"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			project := composeWith(t, tt.variables)
			identity := project.Services["identity"]
			trusted := environment(identity)["EARLYBIRD_TRUSTED_PROXIES"]
			if subnet := project.Networks["service"].Ipam.Config[0].Subnet; subnet != tt.subnet || trusted != tt.subnet {
				t.Errorf("identity trusts %s, Kong is on %s, want %s", trusted, subnet, tt.subnet)
			}
			for _, taken := range []string{"172.16.0.0/12", "192.168.0.0/16"} { // Docker's pools; AWS's default VPC is in the first
				if netip.MustParsePrefix(taken).Overlaps(netip.MustParsePrefix(trusted)) {
					t.Errorf("%s is in %s", trusted, taken)
				}
			}
			if got := environment(identity)["EARLYBIRD_REGISTRATION"]; got != tt.registration {
				t.Errorf("registration %s, want %s", got, tt.registration)
			}
			if identity.GetScale() != tt.replicas {
				t.Errorf("%d replicas, want %d", identity.GetScale(), tt.replicas)
			}
			for _, name := range []string{"identity", "earlybird"} { // who sets it, and whose doctor compares
				if got := environment(project.Services[name])["EARLYBIRD_AUDIT_RETENTION"]; got != tt.retention {
					t.Errorf("%s: retention %s, want %s", name, got, tt.retention)
				}
			}
		})
	}
}

// TestComposeTmpfs: runc before 1.1.8 gives a tmpfs the mode of the folder that it
// covers, also when that folder is one it made itself before a restart
// (opencontainers/runc#3911). So either the image's folder has the mode that is
// asked for, or the user that writes there owns it.
func TestComposeTmpfs(t *testing.T) {
	kongImage := read(t, "kong/Dockerfile")
	for name, s := range compose(t).Services {
		for _, mount := range s.Tmpfs {
			path, options, _ := strings.Cut(mount, ":")
			switch {
			case path == "/tmp": // 1777 in every image
				if options != "mode=1777" {
					t.Errorf("%s: %s", name, mount)
				}
			case s.User == "999:999":
				if options != "uid=999,gid=999,mode=0700" {
					t.Errorf("%s: %s is not the user's who writes there", name, mount)
				}
			default: // of the image's user, whose number it does not promise
				if options != "mode=1777" || !strings.Contains(kongImage, " -m 1777 "+path+"\n") {
					t.Errorf("%s: %s has another mode in the image", name, mount)
				}
			}
		}
	}
}

func TestComposeScalesIdentity(t *testing.T) {
	s := compose(t).Services["identity"]
	if s.ContainerName != "" || len(s.Ports) > 0 || s.Hostname != "" || len(s.Volumes) > 0 {
		t.Errorf("a second replica would collide: name %q, ports %v, host name %q, volumes %v", s.ContainerName, s.Ports, s.Hostname, s.Volumes)
	}
}

// TestComposeStopsInTime: a replica that stops serves until Kong has noticed, and
// ends by itself before it is killed.
func TestComposeStopsInTime(t *testing.T) {
	s := compose(t).Services["identity"]
	delay, err := time.ParseDuration(environment(s)["EARLYBIRD_SHUTDOWN_DELAY"])
	if err != nil {
		t.Fatal(err)
	}
	active := kongYML(t).Upstreams[0].Healthchecks.Active
	notices := time.Duration(float64(active.Unhealthy.HTTPFailures) * active.Healthy.Interval * float64(time.Second))
	if delay <= notices {
		t.Errorf("a replica serves for %s after it is told to stop, Kong sends requests for up to %s", delay, notices)
	}
	const grace = 15 * time.Second // identity's own default
	if s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < delay+grace+5*time.Second {
		t.Errorf("it is killed after %v, before it can have finished", s.StopGracePeriod)
	}
}

// TestComposeMetrics: all that alerts.yml looks at is served, from ports of the
// containers' own.
func TestComposeMetrics(t *testing.T) {
	project, conf := compose(t), kongConf(t)
	kongImage := strings.Fields(strings.Join(dockerfile(t, "kong/Dockerfile").last["EXPOSE"], " "))
	for _, name := range []string{"auth", "tag"} {
		command := conf["pluginserver_earlybird_"+name+"_start_cmd"]
		_, address, _ := strings.Cut(command, "-metrics-listen 0.0.0.0:")
		if address == "" || !slices.Contains(kongImage, address) {
			t.Errorf("earlybird-%s serves metrics on %q, the image exposes %v", name, address, kongImage)
		}
	}
	identity := project.Services["identity"]
	_, port, _ := strings.Cut(environment(identity)["EARLYBIRD_METRICS_LISTEN"], ":")
	if port == "" || !slices.Contains(identity.Expose, port) {
		t.Errorf("identity serves metrics on %q, exposes %v", port, identity.Expose)
	}
}

// TestKongHasAWorkerForEachCore: auto counts the host's, and each takes some
// 100 MiB of the container's memory.
func TestKongHasAWorkerForEachCore(t *testing.T) {
	workers, err := strconv.Atoi(kongConf(t)["nginx_worker_processes"])
	if err != nil {
		t.Fatal(err)
	}
	limits := compose(t).Services["kong"].Deploy.Resources.Limits
	if float32(workers) != limits.NanoCPUs.Value() || types.UnitBytes(workers*250<<20) > limits.MemoryBytes {
		t.Errorf("%d workers, limits of %v cores and %d bytes", workers, limits.NanoCPUs.Value(), limits.MemoryBytes)
	}
}

// variables adds to a help that names flags the variable of each.
func variables(help string) string {
	for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(help, -1) {
		help += "\n$EARLYBIRD_" + strings.ToUpper(strings.ReplaceAll(flag[2:], "-", "_"))
	}
	return help
}

// TestComposeSettings: every variable is one that the program reads, and the
// stores' addresses parse.
func TestComposeSettings(t *testing.T) {
	project := compose(t)
	known := map[string]string{
		"identity":  run(t, program(t, "./identity"), "--help"),
		"earlybird": variables(run(t, program(t, "./admin"), "--help") + run(t, program(t, "./admin"), "doctor", "--help")),
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
	for _, line := range []string{"appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction", "include /run/redis/password.conf"} {
		if !strings.Contains(conf, "\n"+line+"\n") {
			t.Errorf("redis.conf lacks %q", line)
		}
	}
	if !strings.Contains(read(t, "deploy/compose/redis-start.sh"), "/run/redis/password.conf") {
		t.Error("redis-start.sh does not write what redis.conf includes")
	}
}

// TestMongoRights: identity's user may do what the documentation lists, collMod
// included, which readWrite lacks: without it a longer --audit-retention is
// ignored. The list names every collection there is.
func TestMongoRights(t *testing.T) {
	init, doc := read(t, "deploy/compose/mongodb-init.js"), read(t, "deploy/docs/operations.md")
	for _, want := range []string{
		`{ resource: { db: "earlybird", collection: "logins" }, actions: ["collMod"] }`, `roles: [{ role: "readWrite", db: "earlybird" }]`,
		`roles: [{ role: "earlybird", db: "earlybird" }]`,
	} {
		if !strings.Contains(init, want) {
			t.Errorf("mongodb-init.js lacks %s", want)
		}
	}
	_, rights, _ := strings.Cut(doc, "## What identity and the command line may do in MongoDB\n")
	rights, _, _ = strings.Cut(rights, "\n## ")
	if !strings.Contains(rights, "`collMod`") {
		t.Error("operations.md does not name collMod")
	}
	replaced := []string{"campaigns", "expected", "grants", "waiting", "conflicts"} // by campaign_log
	files, err := filepath.Glob(filepath.Join(root, "identity/mongostore/*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, use := range regexp.MustCompile(`db\.Collection\("(\w+)"\)`).FindAllSubmatch(text, -1) {
			name := string(use[1])
			if !slices.Contains(replaced, name) && !strings.Contains(rights, "| `"+name+"` |") {
				t.Errorf("operations.md does not say what may be done with %s", name)
			}
		}
	}
}
