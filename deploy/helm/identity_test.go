package helm

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	security "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// pods are the pods of a release, by what runs in them.
func (r *release) pods() map[string]core.PodTemplateSpec {
	return map[string]core.PodTemplateSpec{"identity": r.identity.Spec.Template, "doctor": r.doctor.Spec.Template}
}

// environment returns what a pod's program has in its environment.
func (r *release) environment(t *testing.T, pod string) map[string]string {
	t.Helper()
	template := r.pods()[pod]
	env := map[string]string{}
	for _, from := range template.Spec.Containers[0].EnvFrom {
		if from.ConfigMapRef == nil || from.ConfigMapRef.Name != r.settings.Name {
			t.Fatalf("%s: its environment is from %+v", pod, from)
		}
		maps.Copy(env, r.settings.Data)
	}
	for _, variable := range template.Spec.Containers[0].Env {
		if variable.ValueFrom != nil {
			t.Errorf("%s: %s is not in the open", pod, variable.Name)
		}
		env[variable.Name] = variable.Value
	}
	return env
}

// mounted makes a pod's files in a folder, and returns its environment with that folder
// in place of the mount. Every file of the environment is there, and no other.
func (r *release) mounted(t *testing.T, pod string) map[string]string {
	t.Helper()
	spec := r.pods()[pod].Spec
	mounts, volumes := spec.Containers[0].VolumeMounts, spec.Volumes
	if len(mounts) != 1 || len(volumes) != 1 || mounts[0].Name != volumes[0].Name || !mounts[0].ReadOnly || volumes[0].Projected == nil {
		t.Fatalf("%s mounts %+v of %+v", pod, mounts, volumes)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	dir, files := t.TempDir(), []string{}
	for _, source := range volumes[0].Projected.Sources {
		for _, item := range source.Secret.Items {
			random := make([]byte, 32)
			_, _ = rand.Read(random)
			text := []byte(hex.EncodeToString(random))
			if strings.HasSuffix(item.Path, "_ca") {
				text = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
			}
			if err := os.WriteFile(filepath.Join(dir, item.Path), text, 0o600); err != nil {
				t.Fatal(err)
			}
			files = append(files, item.Path)
		}
	}
	env, named := r.environment(t, pod), []string{}
	for name, value := range env {
		if !strings.HasSuffix(name, "_FILE") {
			continue
		}
		file, ok := strings.CutPrefix(value, mounts[0].MountPath+"/")
		if !ok {
			t.Errorf("%s: %s = %s is no mounted file", pod, name, value)
		}
		named = append(named, file)
		env[name] = filepath.Join(dir, file)
	}
	slices.Sort(files)
	slices.Sort(named)
	if !slices.Equal(files, named) {
		t.Errorf("%s mounts %v, its environment names %v", pod, files, named)
	}
	return env
}

func pairs(env map[string]string) []string {
	var all []string
	for name, value := range env {
		all = append(all, name+"="+value)
	}
	return all
}

var helpFlag = regexp.MustCompile(`(?m)^   --([a-z0-9-]+) .*\[\$(EARLYBIRD_[A-Z0-9_]+)\]$`)

// TestSettingsAreIdentitys: every variable is one that identity reads, and every flag
// is a value or can be one of settings. Checked by a flag left out of the schema.
func TestSettingsAreIdentitys(t *testing.T) {
	flags := map[string]string{}
	for _, found := range helpFlag.FindAllStringSubmatch(said(t, program(t, "./identity"), "--help"), -1) {
		flags[found[2]] = found[1]
	}
	if len(flags) < 30 {
		t.Fatalf("only %d flags found in --help", len(flags))
	}
	given := map[string]bool{}
	for _, file := range valueFiles {
		for name := range render(t, values(t, file)).environment(t, "identity") {
			given[name] = true
			if flags[name] == "" && name != "GOMAXPROCS" {
				t.Errorf("%s: identity reads no %s", file, name)
			}
		}
	}
	for name, flag := range flags {
		if !given[name] {
			t.Errorf("no value and no setting of everything.yaml becomes %s (--%s)", name, flag)
		}
	}
	var schema struct {
		Properties struct {
			Settings struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "deploy/helm/earlybird/values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	settings, _ := values(t, "testdata/everything.yaml")["settings"].(map[string]any)
	if a, b := slices.Sorted(maps.Keys(schema.Properties.Settings.Properties)), slices.Sorted(maps.Keys(settings)); !slices.Equal(a, b) {
		t.Errorf("the schema has the settings %v, everything.yaml %v", a, b)
	}
}

// TestIdentityTakesItsSettings starts identity as its container does, with one more
// setting that is wrong, so that it ends: that one, and no other, is its complaint.
func TestIdentityTakesItsSettings(t *testing.T) {
	for _, file := range valueFiles {
		t.Run(file, func(t *testing.T) {
			env := render(t, values(t, file)).mounted(t, "identity")
			env["EARLYBIRD_LOG_LEVEL"] = "wrong"
			out, status := run(t, pairs(env), program(t, "./identity"))
			if status != 2 || strings.Count(out, "--") != 1 || !strings.Contains(out, "--log-level (EARLYBIRD_LOG_LEVEL)") {
				t.Errorf("exit status %d:\n%s", status, out)
			}
		})
	}
}

// TestIdentityRefusesTheRest: what the schema cannot know is wrong, identity says when it
// starts, all at once.
func TestIdentityRefusesTheRest(t *testing.T) {
	v := set(t, values(t, "testdata/minimal.yaml"), "settings={min-password-score: 9, account-limit: often, audit-retention: 1y, token-cache-size: 0}", `mongo.url="mongodb:///"`)
	out, status := run(t, pairs(render(t, v).mounted(t, "identity")), program(t, "./identity"))
	for _, want := range []string{"--min-password-score", "--account-limit", "--audit-retention", "--token-cache-size", "mongo URL"} {
		if status != 2 || !strings.Contains(out, want) {
			t.Errorf("exit status %d, and %s is not in\n%s", status, want, out)
		}
	}
}

// TestDoctor: helm test runs the command of the image, where identity and Kong are, with
// what it reads and without the secret of the keys.
func TestDoctor(t *testing.T) {
	help := said(t, program(t, "./admin"), "--help") + said(t, program(t, "./admin"), "doctor", "--help")
	for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(help, -1) {
		help += "\n$EARLYBIRD_" + strings.ToUpper(strings.ReplaceAll(flag[2:], "-", "_"))
	}
	for _, file := range valueFiles {
		t.Run(file, func(t *testing.T) {
			r := render(t, values(t, file))
			if r.doctor.Annotations["helm.sh/hook"] != "test" || r.doctor.Spec.Template.Spec.RestartPolicy != core.RestartPolicyNever || *r.doctor.Spec.BackoffLimit != 0 {
				t.Errorf("it is no test, or is repeated: %+v", r.doctor)
			}
			command := r.doctor.Spec.Template.Spec.Containers[0].Command
			if !slices.Equal(command, []string{"/usr/local/bin/earlybird", "doctor"}) || !strings.Contains(read(t, "deploy/images/identity.Dockerfile"), "/out/earlybird /usr/local/bin/\n") {
				t.Errorf("it runs %q", command)
			}
			env, identity := r.mounted(t, "doctor"), r.environment(t, "identity")
			for name, value := range env {
				if !strings.Contains(help, "$"+name+"\n") && !strings.HasSuffix(help, "$"+name) {
					t.Errorf("doctor reads no %s", name)
				}
				if other, both := identity[name]; both && !strings.HasSuffix(name, "_FILE") && other != value {
					t.Errorf("%s is %s for doctor, %s for identity", name, value, other)
				}
				if strings.Contains(name, "KEY") {
					t.Errorf("doctor is given %s", name)
				}
			}
			at, service := env["EARLYBIRD_IDENTITY_URL"], r.services["earlybird"]
			if want := "http://" + service.Name + ":" + strconv.Itoa(int(service.Spec.Ports[0].Port)); at != want {
				t.Errorf("doctor asks identity at %s, the Service is %s", at, want)
			}
		})
	}
	// It starts with what it is given: nobody answers, which is a finding, not a wrong flag.
	env := render(t, values(t, "testdata/minimal.yaml")).mounted(t, "doctor")
	for name, url := range map[string]string{"MONGO": "mongodb://127.0.0.1:1/e?serverSelectionTimeoutMS=200", "REDIS": "redis://127.0.0.1:1", "IDENTITY": "http://127.0.0.1:1", "GATEWAY": "http://127.0.0.1:1"} {
		env["EARLYBIRD_"+name+"_URL"] = url
	}
	if out, status := run(t, pairs(env), program(t, "./admin"), "doctor"); status != 1 || !strings.Contains(out, "mongodb") {
		t.Errorf("exit status %d:\n%s", status, out)
	}
}

// TestProbes asks a running identity, whose stores are away, at the paths and ports of
// the probes and of the monitor: it lives, has not started, and is measured.
func TestProbes(t *testing.T) {
	r := render(t, values(t, "example-values.yaml"))
	env := r.mounted(t, "identity")
	addresses := map[string]string{}
	for port, variable := range map[string]string{"http": "EARLYBIRD_LISTEN", "metrics": "EARLYBIRD_METRICS_LISTEN"} {
		ports := r.identity.Spec.Template.Spec.Containers[0].Ports
		i := slices.IndexFunc(ports, func(p core.ContainerPort) bool { return p.Name == port })
		if i < 0 || env[variable] != ":"+strconv.Itoa(int(ports[i].ContainerPort)) {
			t.Fatalf("%s = %s, the container has the ports %+v", variable, env[variable], ports)
		}
		if !regexp.MustCompile(`(?m)^EXPOSE .*\b` + env[variable][1:] + `\b`).MatchString(read(t, "deploy/images/identity.Dockerfile")) {
			t.Errorf("the image exposes no %s", env[variable])
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addresses[port] = l.Addr().String()
		env[variable] = addresses[port]
		_ = l.Close()
	}
	env["EARLYBIRD_MONGO_URL"], env["EARLYBIRD_REDIS_URL"] = "mongodb://127.0.0.1:1/earlybird", "rediss://127.0.0.1:1"
	delete(env, "EARLYBIRD_OTLP_ENDPOINT")
	ctx, stop := context.WithCancel(t.Context())
	identity := exec.CommandContext(ctx, program(t, "./identity"))
	identity.Env = pairs(env)
	if err := identity.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); _ = identity.Wait() })

	container := r.identity.Spec.Template.Spec.Containers[0]
	for name, tt := range map[string]struct {
		port, path, says string
		status           int
	}{
		"liveness":  {container.LivenessProbe.HTTPGet.Port.StrVal, container.LivenessProbe.HTTPGet.Path, `"alive"`, 200},
		"startup":   {container.StartupProbe.HTTPGet.Port.StrVal, container.StartupProbe.HTTPGet.Path, `"starting"`, 503},
		"readiness": {container.ReadinessProbe.HTTPGet.Port.StrVal, container.ReadinessProbe.HTTPGet.Path, `"starting"`, 503},
		"monitor":   {r.monitor.Spec.Endpoints[0].Port, r.monitor.Spec.Endpoints[0].Path, "earlybird_", 200},
	} {
		status, body := get(t, "http://"+addresses[tt.port]+tt.path)
		if status != tt.status || !strings.Contains(body, tt.says) {
			t.Errorf("%s: %s %s answers %d, want %d and %s:\n%.300s", name, tt.port, tt.path, status, tt.status, tt.says, body)
		}
	}
}

// get waits until somebody answers.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		answer, err := http.Get(url)
		if err != nil {
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			continue
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
}

// TestProbesArePatient: a replica that is busy hashing is not taken for a dead one, and
// one that waits for MongoDB is not started again and again.
func TestProbesArePatient(t *testing.T) {
	const longest = 5 * time.Second // in the queue for hashes
	lasts := func(p *core.Probe) time.Duration {
		return time.Duration(p.FailureThreshold*p.PeriodSeconds) * time.Second
	}
	for file, startup := range map[string]time.Duration{"testdata/minimal.yaml": 30 * time.Minute, "testdata/everything.yaml": time.Hour} {
		c := render(t, values(t, file)).identity.Spec.Template.Spec.Containers[0]
		if lasts(c.LivenessProbe) < 10*longest || lasts(c.ReadinessProbe) <= longest || c.ReadinessProbe.TimeoutSeconds < 2 {
			t.Errorf("%s: liveness %+v, readiness %+v", file, c.LivenessProbe, c.ReadinessProbe)
		}
		if lasts(c.StartupProbe) != startup {
			t.Errorf("%s: it may take %s to start, want %s", file, lasts(c.StartupProbe), startup)
		}
	}
	// What Kong asks, for the reason that kong.yml gives.
	if path := render(t, values(t, "testdata/minimal.yaml")).identity.Spec.Template.Spec.Containers[0].ReadinessProbe.HTTPGet.Path; !strings.Contains(read(t, "kong/kong.yml"), "http_path: "+path+"\n") {
		t.Errorf("a replica is ready by %s, which is not what Kong asks", path)
	}
}

// TestStopsInTime: a replica that stops serves until Kong has noticed, ends by itself
// before it is killed, and goes only when Kong has found its successor by name.
func TestStopsInTime(t *testing.T) {
	number := func(file, pattern string) time.Duration {
		found := regexp.MustCompile(pattern).FindStringSubmatch(read(t, file))
		if found == nil {
			t.Fatalf("%s has no %s", file, pattern)
		}
		n, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(n) * time.Second
	}
	notices := number("kong/kong.yml", `healthy:\n +interval: (\d+)`) * time.Duration(number("kong/kong.yml", `http_failures: (\d+)`)/time.Second)
	ttl := number("kong/kong.conf", `(?m)^dns_valid_ttl = (\d+)`)
	for _, file := range valueFiles {
		r := render(t, values(t, file))
		env := r.environment(t, "identity")
		delay, err1 := time.ParseDuration(env["EARLYBIRD_SHUTDOWN_DELAY"])
		grace, err2 := time.ParseDuration(env["EARLYBIRD_SHUTDOWN_GRACE"])
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if delay <= notices {
			t.Errorf("%s: a replica serves for %s after it is told to stop, Kong sends requests for up to %s", file, delay, notices)
		}
		killed := time.Duration(*r.identity.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second
		if killed < delay+grace+9*time.Second { // 5 s to close the stores, 3 s for traces
			t.Errorf("%s: it is killed after %s, before it can have finished", file, killed)
		}
		rolling := r.identity.Spec.Strategy.RollingUpdate
		if r.identity.Spec.Strategy.Type != "RollingUpdate" || *rolling.MaxSurge != intstr.FromInt32(1) || *rolling.MaxUnavailable != intstr.FromInt32(0) {
			t.Errorf("%s: an upgrade does not keep serving: %+v", file, r.identity.Spec.Strategy)
		}
		if found := time.Duration(r.identity.Spec.MinReadySeconds) * time.Second; found < ttl+5*time.Second {
			t.Errorf("%s: an old replica may go %s after a new one is ready, Kong looks the name up every %s", file, found, ttl)
		}
		if r.scaler == nil && *r.identity.Spec.Replicas < 2 || r.scaler != nil && (*r.scaler.Spec.MinReplicas < 2 || r.identity.Spec.Replicas != nil || r.scaler.Spec.ScaleTargetRef.Name != r.identity.Name) {
			t.Errorf("%s: %v replicas, scaled by %+v", file, r.identity.Spec.Replicas, r.scaler)
		}
	}
}

// TestMemory holds what a pod asks for against the numbers of observing.md, which were
// measured: they and a quarter more.
func TestMemory(t *testing.T) {
	_, page, _ := strings.Cut(read(t, "deploy/docs/observing.md"), "\nMemory: ")
	found := regexp.MustCompile(`(\d+) MiB with (\d+)`).FindAllStringSubmatch(page, -1)
	if len(found) < 2 {
		t.Fatal("observing.md no longer says how much memory identity needs")
	}
	for _, numbers := range found {
		need, _ := strconv.ParseFloat(numbers[1], 64)
		r := render(t, set(t, values(t, "testdata/minimal.yaml"), "hashConcurrency="+numbers[2]))
		resources := r.identity.Spec.Template.Spec.Containers[0].Resources
		limit := float64(resources.Limits.Memory().Value()) / (1 << 20)
		if limit < 1.24*need || limit > 1.35*need || !resources.Requests.Memory().Equal(*resources.Limits.Memory()) {
			t.Errorf("%s hashes at once: %.0f MiB, want %.0f and a quarter more", numbers[2], limit, need)
		}
		if resources.Requests.Cpu().String() != numbers[2] || !resources.Limits.Cpu().IsZero() {
			t.Errorf("%s hashes at once: asks for %s cores, gets %s at most", numbers[2], resources.Requests.Cpu(), resources.Limits.Cpu())
		}
		concurrency, _ := strconv.Atoi(numbers[2])
		if env := r.environment(t, "identity"); env["EARLYBIRD_HASH_CONCURRENCY"] != numbers[2] || env["GOMAXPROCS"] != strconv.Itoa(concurrency+1) || env["GOMEMLIMIT"] != "" {
			t.Errorf("%s hashes at once: %v", numbers[2], env)
		}
	}
	if cpu := render(t, values(t, "testdata/everything.yaml")).identity.Spec.Template.Spec.Containers[0].Resources.Limits.Cpu(); cpu.String() != "9" {
		t.Errorf("resources are not laid over: %s cores", cpu)
	}
}

// TestRestricted: every pod passes the restricted Pod Security Standard as Kubernetes
// itself checks it, and more. Checked by taking a line away.
func TestRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := security.LevelVersion{Level: security.LevelRestricted, Version: security.LatestVersion()}
	user := regexp.MustCompile(`(?m)^USER (\d+):(\d+)$`).FindStringSubmatch(read(t, "deploy/images/identity.Dockerfile"))
	for _, file := range valueFiles {
		r := render(t, values(t, file))
		for name, pod := range r.pods() {
			for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
				if !result.Allowed {
					t.Errorf("%s, %s: %s: %s", file, name, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
			c := pod.Spec.Containers[0]
			if c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem || *pod.Spec.AutomountServiceAccountToken || *pod.Spec.EnableServiceLinks {
				t.Errorf("%s, %s: %+v, %+v", file, name, c.SecurityContext, pod.Spec)
			}
			if s := pod.Spec.SecurityContext; strconv.FormatInt(*s.RunAsUser, 10) != user[1] || strconv.FormatInt(*s.RunAsGroup, 10) != user[2] || *s.FSGroup != *s.RunAsGroup {
				t.Errorf("%s, %s: runs as %+v, the image as %v", file, name, s, user)
			}
			if *pod.Spec.Volumes[0].Projected.DefaultMode != 0o440 {
				t.Errorf("%s, %s: secrets have the mode %o", file, name, *pod.Spec.Volumes[0].Projected.DefaultMode)
			}
		}
	}
}

// TestNoSecrets: the chart makes no Secret and writes down nothing of one.
func TestNoSecrets(t *testing.T) {
	for _, file := range valueFiles {
		rendered, err := templates(values(t, file))
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range rendered {
			if strings.Contains(text, "kind: Secret") || strings.Contains(text, "secretKeyRef") {
				t.Errorf("%s: %s", file, name)
			}
		}
	}
}

// TestChangesRoll: a changed setting replaces the pods, an unchanged one does not.
func TestChangesRoll(t *testing.T) {
	sum := func(changes ...string) string {
		return render(t, set(t, values(t, "testdata/minimal.yaml"), changes...)).identity.Spec.Template.Annotations["checksum/config"]
	}
	if before := sum(); before == "" || sum() != before || sum("settings.log-level=warn") == before {
		t.Error("the pods do not follow their settings")
	}
}
