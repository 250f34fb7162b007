package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
)

const (
	secretHex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	alice     = `{"username":"alice","password":"correct horse battery staple"}`
)

// values returns a lookup of settings: the flags' defaults, and what is given.
func values(given map[string]string) func(string) string {
	return func(name string) string {
		if v, ok := given[name]; ok {
			return v
		}
		for _, s := range settingsTable {
			if s.name == name {
				return s.value
			}
		}
		return ""
	}
}

func secretFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secretHex+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadReportsEveryFaultAtOnce(t *testing.T) {
	const leak = "hunter2"
	wrong := map[string]string{
		"listen": "nowhere", "metrics-listen": "x:99999", "trusted-proxies": "10.0.0.1",
		"issuer": leak, "audience": " ", "client-id": "", "key-secret-file": "", "argon2-memory-kib": "-1",
		"argon2-time": "many", "argon2-parallelism": "0", "hash-concurrency": "x", "min-password-length": "7",
		"min-password-score": "5", "registration": "closed", "address-limit": "1", "account-limit": "1/h", "account-address-limit": "0,1/h", "audit-retention": "1m",
		"key-old-secret-file": "/nowhere", "key-max-age": "soon",
		"user-cache-size": "0", "token-cache-size": "0", "user-cache-ttl": "0s", "otlp-endpoint": "collector:4318",
		"log-level": "loud", "shutdown-delay": "1", "shutdown-grace": "2h",
		"mongo-url": "http://a:" + leak + "@b", "redis-url": "http://a:" + leak + "@b",
	}
	_, err := load(values(wrong))
	if err == nil {
		t.Fatal("no fault found")
	}
	for name := range wrong {
		want := "--" + name + " (" + envName(name) + ")"
		if strings.HasSuffix(name, "-url") {
			want = strings.TrimSuffix(name, "-url")
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), leak) {
		t.Errorf("a value is repeated: %v", err)
	}
	if _, err := load(values(map[string]string{"argon2-memory-kib": "8192", "key-secret-file": secretFile(t)})); err == nil || !strings.Contains(err.Error(), "OWASP") {
		t.Errorf("weak hashing: %v", err)
	}
}

// Trusting everybody would undo the limits by address, and a prefix that fits no
// address would trust nobody.
func TestTrustedProxies(t *testing.T) {
	tests := []struct {
		name, proxies string
		want          string // what is trusted; an error otherwise
		fails         bool
	}{
		{name: "nobody"},
		{name: "both kinds", proxies: "10.0.0.0/8, ::1/128", want: "10.0.0.0/8 ::1/128"},
		{name: "masked", proxies: "10.1.2.3/8", want: "10.0.0.0/8"},
		{name: "mapped", proxies: "::ffff:127.0.0.0/104", want: "127.0.0.0/8"},
		{name: "mapped, one address", proxies: "::ffff:10.1.2.3/128", want: "10.1.2.3/32"},
		{name: "mapped in hexadecimal", proxies: "::ffff:a00:0/104", want: "10.0.0.0/8"},
		{name: "every IPv4 address", proxies: "0.0.0.0/0", fails: true},
		{name: "every IPv6 address", proxies: "10.0.0.0/8,::/0", fails: true},
		{name: "every mapped address", proxies: "::ffff:0:0/96", fails: true},
		{name: "more than every mapped address", proxies: "::ffff:10.0.0.0/64", fails: true},
		{name: "no prefix", proxies: "10.0.0.1", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := load(values(map[string]string{"key-secret-file": secretFile(t), "trusted-proxies": tt.proxies}))
			if (err != nil) != tt.fails {
				t.Fatalf("error %v", err)
			}
			var got []string
			for _, p := range c.TrustedProxies {
				got = append(got, p.String())
			}
			if !tt.fails && strings.Join(got, " ") != tt.want {
				t.Errorf("trusts %v, want %s", got, tt.want)
			}
		})
	}
}

func TestLoadDefaults(t *testing.T) {
	c, err := load(values(map[string]string{"key-secret-file": secretFile(t)}))
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:8081" || c.Codes || c.Secret[31] != 0x1f || c.Hash.Params.MemoryKiB != 19456 || c.ShutdownGrace != 15*time.Second || len(c.TrustedProxies) != 2 {
		t.Errorf("defaults %+v", c)
	}
}

// TestShareCores: as many hashes at once as there are cores, and one processor
// more than that, unless a setting or GOMAXPROCS says otherwise.
func TestShareCores(t *testing.T) {
	cores := runtime.GOMAXPROCS(0)
	for name, c := range map[string]struct {
		set, hashes, wantHashes, wantProcessors int
	}{
		"nothing said": {0, 0, cores, cores + 1},
		"more hashes":  {0, cores + 3, cores + 3, cores + 4},
		"one hash":     {0, 1, 1, max(cores, 2)},
		"GOMAXPROCS":   {cores, 0, cores, cores},
	} {
		t.Run(name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(cores)
			t.Setenv("GOMAXPROCS", "")
			if c.set != 0 {
				t.Setenv("GOMAXPROCS", strconv.Itoa(c.set))
			}
			var settings config
			settings.Hash.Concurrency = c.hashes
			shareCores(&settings)
			if hashes, processors := settings.Hash.Concurrency, runtime.GOMAXPROCS(0); hashes != c.wantHashes || processors != c.wantProcessors {
				t.Errorf("%d hashes at once and %d processors, want %d and %d", hashes, processors, c.wantHashes, c.wantProcessors)
			}
		})
	}
}

// TestMemoryLimit: the limit grows with what settings allow to be held, else
// the garbage collector would never rest.
func TestMemoryLimit(t *testing.T) {
	limit := func(name, value string) int64 {
		c, err := load(values(map[string]string{"key-secret-file": secretFile(t), "hash-concurrency": "2", name: value}))
		if err != nil {
			t.Fatal(err)
		}
		return memoryLimit(c)
	}
	before := limit("hash-concurrency", "2")
	for _, test := range []struct {
		name, value string
		want        int64 // more
	}{
		{"token-cache-size", "1000000", 450 << 20},
		{"user-cache-size", "1000000", 450 << 20},
		{"hash-concurrency", "10", 8 * 19 << 20},
		{"argon2-memory-kib", "65536", 2 * (64 - 19) << 20},
	} {
		if got := limit(test.name, test.value) - before; got < test.want {
			t.Errorf("with --%s %s the limit grows by %d MiB, want %d at least", test.name, test.value, got>>20, test.want>>20)
		}
	}
}

func TestCommandLine(t *testing.T) {
	cases := map[string]struct {
		args   []string
		env    map[string]string
		status int
		says   string
	}{
		"no secret":        {nil, nil, 2, "--key-secret-file"},
		"unknown flag":     {[]string{"--nope"}, nil, 2, "nope"},
		"unknown command":  {[]string{"serve"}, nil, 2, `"serve" is not a command`},
		"wrong variable":   {nil, map[string]string{"EARLYBIRD_LOG_LEVEL": "loud"}, 2, "EARLYBIRD_LOG_LEVEL"},
		"flag wins":        {[]string{"--log-level=info"}, map[string]string{"EARLYBIRD_LOG_LEVEL": "loud"}, 2, "--key-secret-file"},
		"check, nobody":    {[]string{"--listen", "127.0.0.1:1", "healthcheck"}, nil, 1, "health check"},
		"check, bad flag":  {[]string{"healthcheck", "--nope"}, nil, 2, "nope"},
		"check, two":       {[]string{"healthcheck", "--live", "--serving"}, nil, 2, "--live and --serving"},
		"check, bad place": {[]string{"--listen", "x", "healthcheck"}, nil, 2, "--listen"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			err := newApp(io.Discard, io.Discard).RunContext(t.Context(), append([]string{"earlybird-identity"}, c.args...))
			if err == nil || exitStatus(err) != c.status || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want status %d and %q", err, c.status, c.says)
			}
			if c.env != nil && c.args != nil && strings.Contains(err.Error(), "LOG_LEVEL") {
				t.Errorf("the variable won over the flag: %v", err)
			}
		})
	}
}

// instance is a service that run has started.
type instance struct {
	url  string
	addr string
	stop context.CancelFunc
	done chan error
	logs *logs
}

type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// begin runs the service on a free port until the test ends.
func begin(t *testing.T, given map[string]string) *instance {
	t.Helper()
	given["listen"], given["key-secret-file"] = "127.0.0.1:0", secretFile(t)
	c, err := load(values(given))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	i := &instance{stop: stop, done: make(chan error, 1), logs: &logs{}}
	listening := make(chan string, 1)
	go func() { i.done <- run(ctx, c, i.logs, func(a net.Addr) { listening <- a.String() }) }()
	select {
	case i.addr = <-listening:
		i.url = "http://" + i.addr
	case err := <-i.done:
		t.Fatalf("run: %v", err)
	}
	t.Cleanup(func() {
		stop()
		select {
		case err, first := <-i.done:
			if first && err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the service does not stop")
		}
	})
	return i
}

// ended waits for run to return and returns its error.
func (i *instance) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-i.done:
		close(i.done)
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the service does not stop")
		return nil
	}
}

func (i *instance) do(t *testing.T, method, path, body, bearer string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, i.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	said := map[string]any{}
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil {
		t.Fatalf("%s %s: %d: %v", method, path, res.StatusCode, err)
	}
	return res.StatusCode, said
}

// until polls until a path answers with a status.
func (i *instance) until(t *testing.T, path string, want int) map[string]any {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		status, said := i.do(t, "GET", path, "", "")
		if status == want {
			return said
		}
		if time.Now().After(deadline) {
			t.Fatalf("GET %s still answers %d %v, want %d\n%s", path, status, said, want, i.logs)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestRunJourney(t *testing.T) {
	redis := testserver.Redis(t)
	stores := map[string]string{"mongo-url": testserver.Mongo(t), "redis-url": redis.URL()}
	first := begin(t, stores)
	if said := first.until(t, "/readyz", 200); said["status"] != "ready" {
		t.Errorf("readyz says %v", said)
	}
	status, user := first.do(t, "POST", "/users", alice, "")
	if status != 201 {
		t.Fatalf("POST /users: %d %v", status, user)
	}
	status, login := first.do(t, "POST", "/login", alice, "")
	token, _ := login["token"].(string)
	if status != 200 || token == "" {
		t.Fatalf("POST /login: %d %v", status, login)
	}
	id, _ := user["id"].(string)
	if status, own := first.do(t, "GET", "/users/"+id, "", token); status != 200 || own["username"] != "alice" {
		t.Errorf("GET /users/{id}: %d %v", status, own)
	}
	if status, said := first.do(t, "GET", "/promotion", "", token); status != 404 {
		t.Errorf("GET /promotion without a campaign: %d %v", status, said)
	}
	first.stop()
	if err := first.ended(t); err != nil {
		t.Fatalf("stop: %v", err)
	}

	second := begin(t, stores)
	second.until(t, "/readyz", 200)
	if status, own := second.do(t, "GET", "/users/"+id, "", token); status != 200 {
		t.Errorf("after a restart the token opens nothing: %d %v", status, own)
	}
	if err := healthcheck(t.Context(), second.addr, "/readyz"); err != nil {
		t.Errorf("health check: %v", err)
	}
	redis.Stop()
	if said := second.until(t, "/readyz", 200); said["status"] == "ready" {
		deadline := time.Now().Add(20 * time.Second)
		for said["status"] != "degraded" && time.Now().Before(deadline) {
			said = second.until(t, "/readyz", 200)
		}
		if said["status"] != "degraded" {
			t.Errorf("without redis: %v", said)
		}
	}
	if status, said := second.do(t, "POST", "/login", alice, ""); status != 200 {
		t.Errorf("login without redis: %d %v", status, said)
	}
	if all := first.logs.String() + second.logs.String(); strings.Contains(all, "correct horse") || strings.Contains(all, token) {
		t.Error("a password or token is in the log")
	}
}

// TestMongoComesUpLater starts the service before its database can be reached.
func TestMongoComesUpLater(t *testing.T) {
	real := testserver.Mongo(t)
	at, err := url.Parse(real)
	if err != nil {
		t.Fatal(err)
	}
	later := &gate{target: at.Host}
	later.listen(t)
	at.Host = later.listener.Addr().String()
	i := begin(t, map[string]string{"mongo-url": at.String() + "?serverSelectionTimeoutMS=200", "redis-url": "redis://127.0.0.1:1/0"})
	said := i.until(t, "/readyz", 503)
	if checks, _ := said["checks"].(map[string]any); said["status"] != "unready" || checks["mongodb"] != "down" {
		t.Errorf("readyz says %v", said)
	}
	if status, said := i.do(t, "POST", "/users", alice, ""); status != 503 {
		t.Errorf("POST /users: %d %v, want 503", status, said)
	}
	if err := healthcheck(t.Context(), i.addr, "/livez"); err != nil {
		t.Errorf("it is alive: %v", err)
	}
	for _, path := range []string{"/readyz", "/servingz"} {
		if err := healthcheck(t.Context(), i.addr, path); err == nil {
			t.Errorf("%s says that it is there", path)
		}
	}
	later.open()
	i.until(t, "/readyz", 200)
	if status, said := i.do(t, "POST", "/users", alice, ""); status != 201 {
		t.Errorf("POST /users: %d %v, want 201", status, said)
	}
}

// gate forwards connections to MongoDB once it is open, and drops them before.
type gate struct {
	target   string
	listener net.Listener
	mu       sync.Mutex
	opened   bool
	refuse   func(request []byte) bool // cut the connection instead of forwarding; nil: forward all
	change   func(answer []byte)       // change an answer in place; nil: leave it
}

// newGate returns an open gate before the server of a URL, and the URL through it.
func newGate(t *testing.T, mongoURL string) (*gate, string) {
	t.Helper()
	at, err := url.Parse(mongoURL)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{target: at.Host}
	g.listen(t)
	g.open()
	at.Host = g.listener.Addr().String()
	return g, at.String()
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened = true
}

// set changes what the gate lets through.
func (g *gate) set(refuse func([]byte) bool, change func([]byte)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuse, g.change = refuse, change
}

func (g *gate) rules() (opened bool, refuse func([]byte) bool, change func([]byte)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opened, g.refuse, g.change
}

func (g *gate) listen(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.listener = l
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go g.forward(in)
			}
		}
	}()
}

func (g *gate) forward(in net.Conn) {
	defer in.Close()
	if opened, _, _ := g.rules(); !opened {
		return
	}
	out, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		defer out.Close()
		forwardMessages(out, in, func(request []byte) bool {
			_, refuse, _ := g.rules()
			return refuse == nil || !refuse(request)
		})
	}()
	forwardMessages(in, out, func(answer []byte) bool {
		if _, _, change := g.rules(); change != nil {
			change(answer)
		}
		return true
	})
}

// forwardMessages copies messages of MongoDB's wire protocol, which begin with
// their length, until one is not let through.
func forwardMessages(to io.Writer, from io.Reader, lets func(message []byte) bool) {
	for {
		var length [4]byte
		if _, err := io.ReadFull(from, length[:]); err != nil {
			return
		}
		message := make([]byte, binary.LittleEndian.Uint32(length[:]))
		copy(message, length[:])
		if _, err := io.ReadFull(from, message[4:]); err != nil || !lets(message) {
			return
		}
		if _, err := to.Write(message); err != nil {
			return
		}
	}
}

// TestStopFinishesWhatRuns tells the service to stop while a request is
// halfway through its body.
func TestStopFinishesWhatRuns(t *testing.T) {
	redis := testserver.Redis(t)
	i := begin(t, map[string]string{"mongo-url": testserver.Mongo(t), "redis-url": redis.URL(), "shutdown-delay": "500ms"})
	i.until(t, "/readyz", 200)
	body, send := io.Pipe()
	answered := make(chan int, 1)
	go func() {
		res, err := http.Post(i.url+"/users", "application/json", body)
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		defer res.Body.Close()
		answered <- res.StatusCode
	}()
	if _, err := io.WriteString(send, alice[:10]); err != nil {
		t.Fatal(err)
	}
	i.stop()
	if said := i.until(t, "/readyz", 503); said["status"] != "stopping" {
		t.Errorf("readyz says %v", said)
	}
	if _, err := io.WriteString(send, alice[10:]); err != nil {
		t.Fatal(err)
	}
	if err := send.Close(); err != nil {
		t.Fatal(err)
	}
	if status := <-answered; status != 201 {
		t.Errorf("the request in flight was answered with %d", status)
	}
	if err := i.ended(t); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c, err := load(values(map[string]string{"listen": l.Addr().String(), "key-secret-file": secretFile(t)}))
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), c, io.Discard, nil); err == nil || exitStatus(err) != exitFailed {
		t.Errorf("a port in use: %v", err)
	}
}
