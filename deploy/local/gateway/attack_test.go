package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/deploy/local/gateway"
	"github.com/earlybird/earlybird/deploy/plugintest"
	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/kong"
	pluginsettings "github.com/earlybird/earlybird/plugin/settings"
)

// edge is the project's own kong.yml with the real earlybird-auth before a
// service that notes what reaches it.
type edge struct {
	address  string
	identity *plugintest.Identity

	mu   sync.Mutex
	seen []*http.Request
}

// newEdge takes plugins to append to those of kong.yml.
func newEdge(t *testing.T, plugins string) *edge {
	t.Helper()
	e := &edge{identity: plugintest.NewIdentity(t)}
	redisURL := "redis://" + miniredis.RunT(t).Addr()
	plugintest.NewCampaign(t, redisURL)
	plugintest.NewRevocations(t, redisURL)
	service := e.service(t)
	declarative, err := kong.Render(kong.Options{IdentityURL: service, RedisURL: redisURL})
	if err != nil {
		t.Fatal(err)
	}
	declarative = append(declarative, plugins...)
	if err := kong.Validate("kong.yml", declarative); err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(gateway.Config{Declarative: declarative, External: map[string]gateway.External{
		pluginsettings.AuthName: startPlugin(t, pluginsettings.AuthName),
		pluginsettings.TagName: { // on the login route alone, which is not asked here
			Info:   kongwire.PluginInfo{Name: pluginsettings.TagName, Phases: []string{"response"}, Schema: pluginsettings.TagSchema()},
			Plugin: kongwire.NewPlugin(kongwire.Config{Name: pluginsettings.TagName, Socket: "none"}),
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(g)
	t.Cleanup(front.Close)
	e.address = strings.TrimPrefix(front.URL, "http://")
	return e
}

func (e *edge) service(t *testing.T) (address string) {
	t.Helper()
	keys, err := url.Parse(e.identity.URL)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/.well-known/jwks.json", httputil.NewSingleHostReverseProxy(&url.URL{Scheme: keys.Scheme, Host: keys.Host}))
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that a trailer would be there
		e.mu.Lock()
		e.seen = append(e.seen, r)
		e.mu.Unlock()
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// startPlugin builds and starts a plugin as Kong does.
func startPlugin(t *testing.T, name string) gateway.External {
	t.Helper()
	folder, err := os.MkdirTemp("", "gw") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	program := filepath.Join(testserver.Programs(t, name), name)
	dump, err := kongwire.Query(t.Context(), program, "-dump", "-kong-prefix", folder)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-kong-prefix", folder)
	cmd.Env = []string{}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("unix", dump.SocketPath); err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the plugin does not listen")
		}
	}
	plugin := kongwire.NewPlugin(kongwire.Config{Name: name, Socket: dump.SocketPath})
	t.Cleanup(plugin.Close)
	return gateway.External{Info: dump.Plugins[0], Plugin: plugin}
}

// send sends a request as these very bytes. It returns the status, and what
// reached the service, nil for nothing.
func (e *edge) send(t *testing.T, request string) (status int, seen *http.Request) {
	t.Helper()
	conn, err := net.Dial("tcp", e.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	e.mu.Lock()
	e.seen = nil
	e.mu.Unlock()
	_, _ = io.WriteString(conn, request) // what is too large may be refused before its end
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.seen) > 1 {
		t.Fatalf("%d requests reached the service", len(e.seen))
	}
	if len(e.seen) == 1 {
		seen = e.seen[0]
	}
	return response.StatusCode, seen
}

// TestNobodyForgesTheHeader: what reaches the service is the plugin's header,
// whole, or none at all, and none at all means not authenticated.
func TestNobodyForgesTheHeader(t *testing.T) {
	e := newEdge(t, "")
	t.Run("in a trailer", e.trailer)
	t.Run("on unprotected routes", e.unprotected)
	raw, claims := e.identity.Token(t, "u")
	mine := fmt.Sprintf(`user="u", token="%s"`, claims.ID)
	good := "Authorization: Bearer " + raw + "\r\n"
	const forged = `Earlybird: user="admin", token="x", rank=1` + "\r\n"
	numbered := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			_, _ = fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	const none = ""
	tests := []struct {
		name, headers string
		status        int
		want          string // the header at the service, for 200
	}{
		{"a good token", good, 200, mine},
		{"lower-case bearer", strings.Replace(good, "Bearer", "bearer", 1), 200, mine},
		{"two spaces", strings.Replace(good, "Bearer ", "Bearer  ", 1), 200, mine},
		{"an own header", good + forged, 200, mine},
		{"an own header before", forged + good, 200, mine},
		{"in another case", good + strings.ToLower(forged) + strings.Replace(forged, "Earlybird", "eARLYBIRD", 1), 200, mine},
		{"twice", good + forged + forged, 200, mine},
		{"1,000 times", good + numbered(1000, "Earlybird: %d\r\n"), 200, mine},
		{"with bytes that are not UTF-8", good + "Earlybird: user=\"\xff\xfe\"\r\n", 200, mine},
		{"empty", good + "Earlybird:\r\n", 200, mine},
		{"with an underscore for nothing", good + "Early_bird: x\r\nEarlybird_: x\r\n", 200, mine},
		{"1,000 other headers", good + numbered(1000, "X-%d: y\r\n"), 200, mine},
		{"1,000 other headers before", numbered(1000, "X-%d: y\r\n") + good, 200, mine},
		{"other bytes that are not UTF-8", good + "X-Name: \xff\xfe\xc0\xaf\r\n", 200, mine},
		{"Connection: earlybird", good + "Connection: earlybird\r\n", 200, none},
		{"Connection in another case", good + "CONNECTION: close, EARLYbird\r\n", 200, none},
		{"Connection twice", good + "Connection: close\r\nConnection: x,\tearlybird \r\n", 200, none},
		{"Connection: earlybird and an own header", good + forged + forged + "Connection: earlybird\r\n", 200, none},
		{"Connection: authorization", good + "Connection: authorization\r\n", 200, mine},
		{"Keep-Alive and Proxy-Connection", good + "Keep-Alive: earlybird\r\nProxy-Connection: earlybird\r\n", 200, mine},
		{"no token, an own header", forged, 401, none},
		{"no token, 1,000 own headers", numbered(1000, "Earlybird: %d\r\n"), 401, none},
		{"a token in Proxy-Authorization", "Proxy-" + good, 401, none},
		{"a token in the header's own name", "Earlybird: Bearer " + raw + "\r\n", 401, none},
		{"a tab", strings.Replace(good, "Bearer ", "Bearer\t", 1), 401, none},
		{"a tab after", strings.Replace(good, "Bearer "+raw, "Bearer "+raw+"\tx", 1), 401, none},
		{"no space", strings.Replace(good, "Bearer ", "Bearer", 1), 401, none},
		{"two tokens in a line", "Authorization: Bearer " + raw + ", Bearer " + raw + "\r\n", 401, none},
		{"bytes that are not UTF-8", "Authorization: Bearer " + raw + "\xff\r\n", 401, none},
		{"bytes that are not UTF-8 alone", "Authorization: \xff\xfe\r\n", 401, none},
		{"5 KB", "Authorization: Bearer " + strings.Repeat("a", 5000) + "\r\n", 401, none},
		{"two Authorization lines", good + good, 400, none},
		{"two Authorization lines, one bad", good + "authorization: Bearer x\r\n", 400, none},
		{"two Authorization lines, one empty", "AUTHORIZATION:\r\n" + good, 400, none},
		{"1 MB", "Authorization: Bearer " + strings.Repeat("a", 1<<20-1000) + "\r\n", 400, none},
		{"a space before the colon", strings.Replace(good, ":", " :", 1), 400, none},
		{"NUL", "Authorization: Bearer " + raw + "\x00\r\n", 400, none},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, seen := e.send(t, "GET /users/u HTTP/1.1\r\nHost: edge\r\n"+tt.headers+"\r\n")
			if status != tt.status || (seen != nil) != (tt.status == 200) {
				t.Fatalf("status %d, reached the service: %v; want %d", status, seen != nil, tt.status)
			}
			if seen == nil {
				return
			}
			if got := earlybirds(seen); strings.Join(got, "|") != tt.want {
				t.Errorf("the service sees %q, want %q", got, tt.want)
			}
		})
	}
}

// earlybirds are all values that a service could take for the header.
func earlybirds(r *http.Request) []string {
	var values []string
	for _, header := range []http.Header{r.Header, r.Trailer} {
		for name, of := range header {
			if strings.EqualFold(strings.NewReplacer("-", "", "_", "").Replace(name), "earlybird") {
				values = append(values, of...)
			}
		}
	}
	return slices.Clip(values)
}

func (e *edge) trailer(t *testing.T) {
	raw, claims := e.identity.Token(t, "u")
	status, seen := e.send(t, "POST /logout HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer "+raw+"\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: Earlybird\r\n\r\n"+
		"2\r\n{}\r\n0\r\nEarlybird: user=\"admin\"\r\n\r\n")
	if status != 200 || seen == nil {
		t.Fatalf("status %d", status)
	}
	if got, want := earlybirds(seen), fmt.Sprintf(`user="u", token="%s"`, claims.ID); strings.Join(got, "|") != want {
		t.Errorf("the service sees %q, want %q", got, want)
	}
}

func (e *edge) unprotected(t *testing.T) {
	for name, headers := range map[string]string{
		"one": "Earlybird: user=\"admin\"\r\n", "another case, twice": "EARLYBIRD: a\r\nearlybird: b\r\n", "not UTF-8": "Earlybird: \xff\r\n",
		"after many others": strings.Repeat("X: y\r\n", 150) + "Earlybird: user=\"admin\"\r\n",
		"underscores":       "Early_bird: x\r\nEARLYBIRD_: x\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			for _, line := range []string{"POST /users", "GET /openapi.json", "DELETE /promotion"} {
				status, seen := e.send(t, line+" HTTP/1.1\r\nHost: edge\r\n"+headers+"\r\n")
				if status != 200 || seen == nil {
					t.Fatalf("%s: status %d", line, status)
				}
				if got := earlybirds(seen); len(got) != 0 {
					t.Errorf("%s: the service sees %q", line, got)
				}
			}
		})
	}
}
