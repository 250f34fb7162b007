package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// labels are the labels of one time series name, each with the values that were seen.
type labels map[string]map[string]bool

// add notes that the label was seen with this value.
func (l labels) add(name, value string) {
	if l[name] == nil {
		l[name] = map[string]bool{}
	}
	l[name][value] = true
}

// exported has the labels of every time series that the programs export, by name.
type exported map[string]labels

// scraped returns what identity and both plugins export after a small journey. The
// programs run once for all tests.
func scraped(t *testing.T) exported {
	t.Helper()
	scrapeOnce.Do(func() {
		addresses := freeAddresses(t, 7)
		gateway, metrics := startStack(t, addresses)
		travel(t, "http://"+gateway)
		e := exported{"up": {}}
		for _, address := range metrics {
			e.scrape(t, "http://"+address+"/metrics")
		}
		for _, l := range e { // Prometheus adds them to every series
			l["job"], l["instance"] = map[string]bool{}, map[string]bool{}
		}
		scrapedSeries = e
	})
	if scrapedSeries == nil {
		t.Fatal("the programs could not be scraped")
	}
	return scrapedSeries
}

var (
	scrapeOnce    sync.Once
	scrapedSeries exported
)

// startStack runs everything until the test ends, and returns the addresses of the
// gateway and of the three listeners of metrics. The stack starts each plugin without
// a listener of metrics, so that a script in its place adds the flag.
func startStack(t *testing.T, at []string) (gateway string, metrics []string) {
	t.Helper()
	bin := t.TempDir()
	build(t, "../..", "./identity", filepath.Join(bin, "earlybird-identity"))
	build(t, "../local", ".", filepath.Join(bin, "earlybird-local"))
	for n, plugin := range []string{"earlybird-auth", "earlybird-tag"} {
		real := filepath.Join(bin, plugin+"-real")
		build(t, "../..", "./plugin/"+plugin, real)
		script := fmt.Sprintf("#!/bin/sh\nexec '%s' \"$@\" -metrics-listen %s\n", real, at[5+n])
		if err := os.WriteFile(filepath.Join(bin, plugin), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var said bytes.Buffer
	process := exec.Command(filepath.Join(bin, "earlybird-local"), "--miniredis", "--data", t.TempDir(),
		"--gateway", at[0], "--identity", at[1], "--mongo", at[2], "--redis", at[3])
	process.Env = append(os.Environ(), "EARLYBIRD_METRICS_LISTEN="+at[4])
	process.Stdout, process.Stderr = &said, &said
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Signal(syscall.SIGTERM)
		_ = process.Wait()
		if scrapedSeries == nil {
			t.Log(said.String())
		}
	})
	return at[0], at[4:]
}

func build(t *testing.T, module, pkg, to string) {
	t.Helper()
	command := exec.Command("go", "-C", module, "build", "-trimpath", "-o", to, pkg)
	command.Env = append(os.Environ(), "CGO_ENABLED=0") // as make does, so that the build cache serves both
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
}

// freeAddresses returns addresses with ports below those of outgoing connections,
// one of which could take a port before a server does.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	var all []string
	for attempts := 100 * n; len(all) < n; attempts-- {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.N(20_000)))
		if err != nil && attempts == 0 {
			t.Fatal(err)
		}
		if err == nil {
			defer l.Close() // all at the end, so that none is given twice
			all = append(all, l.Addr().String())
		}
	}
	return all
}

// travel makes requests until the programs export what they only export once it has
// happened: a request's route and status, a command to MongoDB.
func travel(t *testing.T, gateway string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for status, _ := request(t, "GET", gateway+"/promotion", "", ""); status != http.StatusUnauthorized; {
		if time.Now().After(deadline) {
			t.Fatal("the stack does not become ready")
		}
		time.Sleep(50 * time.Millisecond)
		status, _ = request(t, "GET", gateway+"/promotion", "", "")
	}
	const ada = `{"username":"ada","password":"correct horse battery staple"}`
	for _, step := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/users", ada, http.StatusCreated},
		{"POST", "/login", ada, http.StatusOK},
		{"POST", "/login", `{"username":"ada","password":"wrong"}`, http.StatusUnauthorized},
	} {
		if status, body := request(t, step.method, gateway+step.path, step.body, ""); status != step.want {
			t.Fatalf("%s %s: %d %s", step.method, step.path, status, body)
		}
	}
	_, body := request(t, "POST", gateway+"/login", ada, "")
	var login struct{ Token string }
	if err := json.Unmarshal(body, &login); err != nil {
		t.Fatal(err)
	}
	if status, body := request(t, "GET", gateway+"/promotion", "", login.Token); status != http.StatusOK {
		t.Fatalf("GET /promotion: %d %s", status, body)
	}
}

// request makes a request and returns the status, 0 when nobody answers, and the body.
func request(t *testing.T, method, url, body, bearer string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	var answer bytes.Buffer
	_, _ = answer.ReadFrom(response.Body)
	return response.StatusCode, answer.Bytes()
}

// scrape adds what is exported at the URL.
func (e exported) scrape(t *testing.T, url string) {
	t.Helper()
	_, body := request(t, "GET", url, "", "")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil || len(families) == 0 {
		t.Fatalf("%s: %d metrics, %v", url, len(families), err)
	}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			switch family.GetType() {
			case dto.MetricType_HISTOGRAM:
				for _, suffix := range []string{"_bucket", "_count", "_sum"} {
					e.series(name+suffix, m)
				}
				for _, bucket := range m.GetHistogram().GetBucket() {
					e[name+"_bucket"].add("le", fmt.Sprint(bucket.GetUpperBound()))
				}
			default:
				e.series(name, m)
			}
		}
	}
}

func (e exported) series(name string, m *dto.Metric) {
	if e[name] == nil {
		e[name] = labels{}
	}
	for _, pair := range m.GetLabel() {
		e[name].add(pair.GetName(), pair.GetValue())
	}
}
