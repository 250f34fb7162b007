package deploy_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
)

// healthy runs a health check's script as the container's bash does.
func healthy(t *testing.T, script string, args ...string) bool {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		if os.Getenv("EARLYBIRD_REQUIRE_REAL") == "1" {
			t.Fatalf("bash is required (EARLYBIRD_REQUIRE_REAL=1): %v", err)
		}
		t.Skipf("bash is not there: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, bash, append([]string{filepath.Join(root, script)}, args...)...).CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s does not end: %s", script, out)
	}
	t.Logf("%v %s", err, out)
	return err == nil
}

// address runs a server that does this with each connection.
func address(t *testing.T, serve func(net.Conn)) (host, port string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	host, port, _ = net.SplitHostPort(listener.Addr().String())
	return host, port
}

// TestMongoHealth: the check is one message, for mongosh costs a third of a core
// for ever, and it is one that MongoDB answers.
func TestMongoHealth(t *testing.T) {
	const script = "deploy/compose/mongodb-health.sh"
	if check := compose(t).Services["mongodb"].HealthCheck.Test; slices.Contains(check, "mongosh") || !slices.Contains(check, "/etc/earlybird/"+filepath.Base(script)) {
		t.Errorf("checked with %q", check)
	}
	at, err := url.Parse(testserver.Mongo(t))
	if err != nil {
		t.Fatal(err)
	}
	if !healthy(t, script, at.Hostname(), at.Port()) {
		t.Error("a MongoDB that answers is unhealthy")
	}
	host, port := address(t, func(c net.Conn) { _ = c.Close() })
	if healthy(t, script, host, port) {
		t.Error("a server that hangs up is healthy")
	}
	held := make(chan net.Conn, 1) // so that it is not collected, and closed
	host, port = address(t, func(c net.Conn) { held <- c })
	if healthy(t, script, host, port) {
		t.Error("a server that says nothing is healthy")
	}
	_ = (<-held).Close()
	if healthy(t, script, "127.0.0.1", "1") {
		t.Error("no server is healthy")
	}
}

// TestKongHealth: `kong health` asks whether the master process is there, which is
// so while every worker is killed for want of memory.
func TestKongHealth(t *testing.T) {
	img := dockerfile(t, "kong/Dockerfile")
	check := compose(t).Services["kong"].HealthCheck.Test
	if len(check) != 2 || img.files[check[1]] != "kong/health.sh" || !strings.Contains(read(t, "kong/Dockerfile"), "\n  CMD [") && !strings.Contains(read(t, "kong/Dockerfile"), ` CMD ["`+check[1]+`"]`) {
		t.Errorf("checked with %q, the image has %v", check, img.files)
	}
	_, port, err := net.SplitHostPort(kongConf(t)["status_listen"])
	if err != nil || !strings.Contains(read(t, "kong/health.sh"), fmt.Sprintf("${1:-%s}", port)) {
		t.Errorf("kong/health.sh does not ask port %s: %v", port, err)
	}
	for _, tt := range []struct {
		name   string
		status int
		want   bool
	}{{"ready", 200, true}, {"not ready", 503, false}, {"not found", 404, false}} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/status/ready" {
					t.Errorf("asks %s %s", r.Method, r.URL.Path)
				}
				w.WriteHeader(tt.status)
			}))
			t.Cleanup(server.Close)
			at, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			if got := healthy(t, "kong/health.sh", at.Port()); got != tt.want {
				t.Errorf("healthy: %v, want %v", got, tt.want)
			}
		})
	}
	held := make(chan net.Conn, 1)
	_, mute := address(t, func(c net.Conn) { held <- c })
	if healthy(t, "kong/health.sh", mute) {
		t.Error("a listener that says nothing is healthy")
	}
	_ = (<-held).Close()
}
