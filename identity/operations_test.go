package main

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/password/argon2id"
)

func read(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestMetrics(t *testing.T) {
	redis := testserver.Redis(t)
	operations, mongo := testserver.FreeAddresses(t, 1)[0], testserver.Mongo(t)
	i := begin(t, map[string]string{"mongo-url": mongo, "redis-url": redis.URL(), "metrics-listen": operations})
	i.until(t, "/readyz", 200)
	newConsole(t, mongo, redis.URL()).start(t, 100, 0)
	_, user := i.do(t, "POST", "/users", alice, "")
	token := i.login(t, alice)
	for range 2 {
		if status, _ := i.do(t, "GET", fmt.Sprint("/users/", user["id"]), "", token); status != 200 {
			t.Fatalf("GET /users/{id}: %d", status)
		}
	}
	i.do(t, "POST", "/login", `{"username":"alice","password":"wrong"}`, "")
	i.do(t, "POST", "/login", `{"username":"nobody","password":"wrong"}`, "")

	if want := `"argon2id_form":"` + argon2id.Forms()[0] + `"`; !strings.Contains(i.logs.String(), want) {
		t.Errorf("the log is without %s", want)
	}
	testserver.Eventually(t, "Redis has the place", func() bool { // it is filled after the answer
		_, text := read(t, "http://"+operations+"/metrics")
		return strings.Contains(text, "\nearlybird_mirror_lag_entries 0")
	})
	_, text := read(t, "http://"+operations+"/metrics")
	for _, want := range []string{
		`earlybird_logins_total{outcome="success"} 1`,
		`earlybird_logins_total{outcome="wrong_password"} 1`,
		`earlybird_logins_total{outcome="unknown_user"} 1`,
		`earlybird_logins_total{outcome="busy"} 0`,
		`earlybird_logins_unaudited_total{outcome="busy"} 0`,
		`earlybird_password_hash_seconds_count 4`,
		`earlybird_password_wait_seconds_count 4`,
		fmt.Sprintf(`earlybird_password_hash_form{form="%s"} 1`, argon2id.Forms()[0]),
		`earlybird_password_queue 0`,
		`earlybird_password_hashing 0`,
		`earlybird_keys_published 1`,
		`earlybird_key_age_seconds `,
		`earlybird_users_remembered 1`,
		`earlybird_user_reads_remembered_total 1`,
		`earlybird_placements_total{status="pending"} 1`,
		`earlybird_placements_total{status="retry"} 0`,
		`earlybird_placement_seconds_count 1`,
		`earlybird_log_append_seconds_count{result="ok"} 1`,
		`earlybird_places_given_total 1`,
		`earlybird_campaign_ready 1`,
		`earlybird_campaign_behind 0`,
		`earlybird_campaign_damaged 0`,
		`earlybird_campaign_queue 0`,
		`earlybird_campaign_places 1`,
		`earlybird_campaign_granted 1`,
		`earlybird_campaign_remaining 99`,
		`earlybird_campaign_read_age_seconds 0`,
		`earlybird_clock_skew_seconds `,
		`earlybird_mirror_lag_entries 0`,
		`earlybird_mirror_up 1`,
		`earlybird_mirror_foreign 0`,
		`earlybird_revocations_ready 1`,
		`earlybird_store_command_seconds_count{collection="credentials",command="insert",result="ok"} 1`,
		`earlybird_http_request_seconds_count{route="POST /login",status="200"} 1`,
		`earlybird_http_request_seconds_count{route="POST /login",status="401"} 2`,
		"go_goroutines ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}
	for path, want := range map[string]int{
		"http://" + operations + "/debug/pprof/":                  200,
		"http://" + operations + "/debug/pprof/goroutine?debug=1": 200,
		"http://" + operations + "/debug/pprof/profile?seconds=1": 200,
		"http://" + operations + "/users":                         404,
		i.url + "/metrics":                                        404,
		i.url + "/debug/pprof/":                                   404,
		i.url + "/debug/pprof/heap":                               404,
	} {
		if got, _ := read(t, path); got != want {
			t.Errorf("GET %s: %d, want %d", path, got, want)
		}
	}
	redis.Stop()
	testserver.Eventually(t, "the metric says that Redis is down", func() bool {
		_, text := read(t, "http://"+operations+"/metrics")
		return strings.Contains(text, "\nearlybird_mirror_up 0")
	})
}

// collector is an OTLP collector that keeps what it is sent.
type collector struct {
	mu    sync.Mutex
	spans map[string]*tracepb.Span // by name
	names []string                 // of services
}

func newCollector(t *testing.T) (*collector, string) {
	t.Helper()
	c := &collector{spans: map[string]*tracepb.Span{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := c.take(r); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(server.Close)
	return c, server.URL
}

func (c *collector) take(r *http.Request) error {
	var from io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			return err
		}
		from = unzipped
	}
	data, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	var sent v1.ExportTraceServiceRequest
	if err := proto.Unmarshal(data, &sent); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range sent.ResourceSpans {
		for _, a := range of.Resource.Attributes {
			if a.Key == "service.name" {
				c.names = append(c.names, a.Value.GetStringValue())
			}
		}
		for _, scope := range of.ScopeSpans {
			for _, span := range scope.Spans {
				c.spans[span.Name] = span
			}
		}
	}
	return nil
}

const (
	traceID     = "0af7651916cd43dd8448eb211c80319c"
	parentID    = "b7ad6b7169203331"
	traceparent = "00-" + traceID + "-" + parentID + "-01"
)

// tracedLogin logs in as Kong would send it on.
func (i *instance) tracedLogin(t *testing.T) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, i.url+"/login", strings.NewReader(alice))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("traceparent", traceparent)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Fatalf("login: %d", res.StatusCode)
	}
}

func TestTraces(t *testing.T) {
	redis := testserver.Redis(t)
	collector, url := newCollector(t)
	i := begin(t, map[string]string{"mongo-url": testserver.Mongo(t), "redis-url": redis.URL(), "otlp-endpoint": url})
	i.until(t, "/readyz", 200)
	i.do(t, "POST", "/users", alice, "")
	i.tracedLogin(t)
	i.stop()
	if err := i.ended(t); err != nil {
		t.Fatal(err)
	}
	collector.mu.Lock()
	defer collector.mu.Unlock()
	login := collector.spans["POST /login"]
	if login == nil {
		t.Fatalf("no span of the login: %v", collector.spans)
	}
	if fmt.Sprintf("%x", login.TraceId) != traceID || fmt.Sprintf("%x", login.ParentSpanId) != parentID {
		t.Errorf("the login is %x under %x, not in Kong's trace", login.TraceId, login.ParentSpanId)
	}
	find := collector.spans["find credentials"]
	if find == nil || string(find.ParentSpanId) != string(login.SpanId) {
		t.Errorf("the look at MongoDB is %v", find)
	}
	if len(collector.names) == 0 || collector.names[0] != "earlybird-identity" {
		t.Errorf("services %v", collector.names)
	}
	if collector.spans["GET /readyz"] != nil {
		t.Error("probes are traced")
	}
	for _, span := range collector.spans {
		if text := span.String(); strings.Contains(text, "correct horse") || strings.Contains(text, "argon2id") {
			t.Errorf("a span tells a password: %s", text)
		}
	}
	if !strings.Contains(i.logs.String(), `"trace_id":"`+traceID+`"`) {
		t.Error("no log line has the trace's id")
	}
}

// Without a collector no trace is made, and the logs have the id all the same.
func TestTraceIDWithoutTraces(t *testing.T) {
	redis := testserver.Redis(t)
	i := begin(t, map[string]string{"mongo-url": testserver.Mongo(t), "redis-url": redis.URL()})
	i.until(t, "/readyz", 200)
	i.do(t, "POST", "/users", alice, "")
	i.tracedLogin(t)
	if !strings.Contains(i.logs.String(), `"trace_id":"`+traceID+`"`) {
		t.Error("no log line has the trace's id")
	}
}

// A collector that is not there costs nobody anything.
func TestCollectorIsDown(t *testing.T) {
	redis := testserver.Redis(t)
	i := begin(t, map[string]string{"mongo-url": testserver.Mongo(t), "redis-url": redis.URL(), "otlp-endpoint": "http://" + testserver.FreeAddresses(t, 1)[0]})
	i.until(t, "/readyz", 200)
	i.do(t, "POST", "/users", alice, "")
	i.tracedLogin(t)
	i.stop()
	start := time.Now()
	if err := i.ended(t); err != nil || time.Since(start) > 10*time.Second {
		t.Errorf("stop: %v after %s", err, time.Since(start))
	}
}

// TestLostSecret: keys that do not open end the start, with what to do.
// Checked by taking it for an outage that passes.
func TestLostSecret(t *testing.T) {
	stores := map[string]string{"mongo-url": testserver.Mongo(t), "redis-url": testserver.Redis(t).URL()}
	first := begin(t, stores)
	first.until(t, "/readyz", 200)
	first.stop()
	if err := first.ended(t); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(other, []byte(strings.Repeat("ff", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	stores["key-secret-file"] = other
	c, err := load(values(stores))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = run(ctx, c, io.Discard, nil)
	if err == nil || exitStatus(err) != exitFailed || !strings.Contains(err.Error(), "does not open with this key secret") {
		t.Errorf("run with another secret: %v", err)
	}
}
