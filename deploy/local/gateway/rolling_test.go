package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/earlybird/earlybird/deploy/local/gateway"
	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/kong"
	pluginsettings "github.com/earlybird/earlybird/plugin/settings"
)

// replica is an identity service at an address of its own.
type replica struct {
	program, address string
	args             []string
	cmd              *exec.Cmd
}

func (r *replica) start(t *testing.T) {
	t.Helper()
	r.cmd = exec.Command(r.program, append([]string{"--listen", r.address}, r.args...)...)
	r.cmd.Stderr = io.Discard
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		response, err := http.Get("http://" + r.address + "/readyz")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not become ready: %v", r.address, err)
		}
	}
}

func (r *replica) stop(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("%s ended with %v", r.address, err)
	}
}

// clients log in and read through the gateway until ctx ends.
type clients struct {
	front          string
	logins, reads  atomic.Int64
	mu             sync.Mutex
	failed         []string
	user, password string
}

func (c *clients) call(ctx context.Context, method, path, token, body string) (answer map[string]any) {
	request, err := http.NewRequestWithContext(ctx, method, c.front+path, strings.NewReader(body))
	if err == nil {
		request.Header.Set("Content-Type", "application/json")
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		var response *http.Response
		if response, err = http.DefaultClient.Do(request); err == nil {
			defer response.Body.Close()
			if err = json.NewDecoder(response.Body).Decode(&answer); err == nil && response.StatusCode/100 != 2 {
				err = fmt.Errorf("%s %v", response.Status, answer)
			}
		}
	}
	if err != nil && ctx.Err() == nil {
		c.mu.Lock()
		c.failed = append(c.failed, fmt.Sprintf("%s %s: %v", method, path, err))
		c.mu.Unlock()
	}
	return answer
}

func (c *clients) login(ctx context.Context) string {
	token, _ := c.call(ctx, http.MethodPost, "/login", "", c.password)["token"].(string)
	c.logins.Add(1)
	return token
}

// TestRollingRestarts: two replicas are replaced one after the other, three times
// each, while people log in and read. Kong asks /servingz, so that no request is
// sent to one that starts or has stopped; with /livez logins were lost.
func TestRollingRestarts(t *testing.T) {
	program := filepath.Join(testserver.Programs(t, "earlybird-identity"), "earlybird-identity")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	redisURL := "redis://" + miniredis.RunT(t).Addr() + "/0"
	args := []string{
		"--mongo-url", testserver.Mongo(t), "--redis-url", redisURL, "--key-secret-file", secret,
		"--address-limit", "off", "--account-limit", "off", "--account-address-limit", "off", "--shutdown-delay", "1s",
	}
	var replicas []*replica
	for _, address := range testserver.FreeAddresses(t, 2) {
		r := &replica{program: program, address: address, args: args}
		r.start(t)
		t.Cleanup(func() { _ = r.cmd.Process.Kill() })
		replicas = append(replicas, r)
	}
	declarative, err := kong.Render(kong.Options{IdentityURL: "http://" + replicas[0].address, RedisURL: redisURL})
	if err != nil {
		t.Fatal(err)
	}
	// As shipped, but for a second target, a tenth of the time between probes and no
	// limit for the one address that everybody comes from here.
	text := string(declarative)
	for _, change := range [][2]string{
		{"- target: \"" + replicas[0].address + "\"", "- target: \"" + replicas[0].address + "\"\n      - target: \"" + replicas[1].address + "\""},
		{"interval: 2\n", "interval: 0.2\n"},
		{"interval: 1\n", "interval: 0.1\n"},
		{"minute: 600\n", "minute: 1000000\n"},
	} {
		if strings.Count(text, change[0]) != 1 {
			t.Fatalf("kong.yml has %q %d times", change[0], strings.Count(text, change[0]))
		}
		text = strings.Replace(text, change[0], change[1], 1)
	}
	g, err := gateway.New(gateway.Config{Declarative: []byte(text), External: map[string]gateway.External{
		pluginsettings.AuthName: startPlugin(t, pluginsettings.AuthName), pluginsettings.TagName: startPlugin(t, pluginsettings.TagName),
	}})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(t.Context())
	checked := make(chan struct{})
	go func() { g.Run(running); close(checked) }()
	t.Cleanup(func() { stop(); <-checked })
	front := httptest.NewServer(g)
	t.Cleanup(front.Close)

	c := &clients{front: front.URL, password: `{"username":"ada","password":"a strange word in the morning"}`}
	c.user, _ = c.call(t.Context(), http.MethodPost, "/users", "", c.password)["id"].(string)
	if c.user == "" {
		t.Fatalf("no account: %v", c.failed)
	}
	load, end := context.WithCancel(t.Context())
	var people sync.WaitGroup
	for range 2 {
		people.Go(func() {
			for load.Err() == nil {
				c.login(load)
			}
		})
		people.Go(func() {
			token := c.login(load)
			for load.Err() == nil {
				c.call(load, http.MethodGet, "/users/"+c.user, token, "")
				c.reads.Add(1)
			}
		})
	}
	for n := range 6 {
		before := c.logins.Load()
		replicas[n%2].stop(t)
		replicas[n%2].start(t)
		for deadline := time.Now().Add(30 * time.Second); c.logins.Load() < before+5; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("nobody can log in")
			}
		}
	}
	end()
	people.Wait()
	if len(c.failed) > 0 {
		t.Errorf("%d of %d logins and %d reads failed, first %s", len(c.failed), c.logins.Load(), c.reads.Load(), c.failed[0])
	}
	t.Logf("%d logins, %d reads", c.logins.Load(), c.reads.Load())
}
