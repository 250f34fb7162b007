package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
)

// programs builds all programs once and returns their folder.
var programs = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "earlybird-programs-")
	if err != nil {
		return "", err
	}
	for name, from := range map[string][2]string{
		"earlybird-identity": {"../..", "./identity"},
		"earlybird-auth":     {"../..", "./plugin/earlybird-auth"},
		"earlybird-tag":      {"../..", "./plugin/earlybird-tag"},
		"earlybird-local":    {".", "."},
	} {
		build := exec.Command("go", "-C", from[0], "build", "-trimpath", "-o", filepath.Join(folder, name), from[1])
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build does, and the cache with it
		if out, err := build.CombinedOutput(); err != nil {
			return folder, fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return folder, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if folder, _ := programs(); folder != "" && built {
		_ = os.RemoveAll(folder)
	}
	os.Exit(code)
}

// built tells TestMain that there is something to remove.
var built bool

// local is a stack that runs as a process.
type local struct {
	args    []string
	command *exec.Cmd
	output  testserver.Output
	waits   string // for this on standard output; empty: the end of the greeting
	exited  chan error
}

// newLocal prepares a stack on free ports with a fresh data folder.
func newLocal(t *testing.T, more ...string) *local {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs the whole stack")
	}
	built = true
	folder, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	l := &local{args: append([]string{filepath.Join(folder, "earlybird-local"), "--data", t.TempDir()}, more...)}
	for _, flag := range []string{"--gateway", "--identity", "--mongo", "--redis", "--shop"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }() // all at the end, so that no port is given twice
		l.args = append(l.args, flag, listener.Addr().String())
	}
	return l
}

// flag returns the value of one of the stack's flags.
func (l *local) flag(name string) string {
	for i, arg := range l.args {
		if arg == name {
			return l.args[i+1]
		}
	}
	return ""
}

// start runs the stack and waits until it says what to type next.
func (l *local) start(t *testing.T) {
	t.Helper()
	ready := make(chan struct{})
	l.command = exec.Command(l.args[0], l.args[1:]...)
	l.output.Reset()
	l.command.Stderr = &l.output
	l.command.Stdout = &waiter{text: cmp.Or(l.waits, "Ctrl-C"), found: ready}
	l.command.WaitDelay = 5 * time.Second
	if err := l.command.Start(); err != nil {
		t.Fatal(err)
	}
	l.exited = make(chan error, 1)
	go func() { l.exited <- l.command.Wait() }()
	t.Cleanup(func() { l.end(t, os.Kill) })
	select {
	case <-ready:
	case err := <-l.exited:
		l.command = nil
		t.Fatalf("the stack ended: %v\n%s", err, l.output.String())
	case <-time.After(2 * time.Minute):
		t.Fatal("the stack did not become ready")
	}
}

// end signals the stack and waits until it has ended.
func (l *local) end(t *testing.T, signal os.Signal) {
	t.Helper()
	if l.command == nil {
		return
	}
	_ = l.command.Process.Signal(signal)
	select {
	case err := <-l.exited:
		if signal == os.Interrupt && err != nil {
			t.Errorf("after Ctrl-C: %v\n%s", err, l.output.String())
		}
		for _, name := range []string{"earlybird-tag", "earlybird-auth", "earlybird-identity"} {
			if pid := l.child(name); signal == os.Interrupt && pid != 0 {
				t.Errorf("after Ctrl-C %s runs on, process %d", name, pid)
			}
		}
	case <-time.After(30 * time.Second):
		t.Errorf("the stack did not end on %v", signal)
		_ = l.command.Process.Kill()
		t.Log(<-l.exited)
	}
	l.command = nil
}

// waiter closes found once text was written.
type waiter struct {
	text  string
	found chan struct{}
	buf   bytes.Buffer
	once  sync.Once
}

func (w *waiter) Write(p []byte) (int, error) {
	w.buf.Write(p)
	if strings.Contains(w.buf.String(), w.text) {
		w.once.Do(func() { close(w.found) })
	}
	return len(p), nil
}

// request asks the gateway and returns status, header and body. more are names
// and values of headers.
func (l *local) request(t *testing.T, method, path, token, body string, more ...string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+l.flag("--gateway")+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(more); i += 2 {
		request.Header.Set(more[i], more[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(text)
}

const ada = `{"username":"ada","password":"a strange word in the morning"}`

// login logs ada in and returns her token; the login must say that she is
// number 1.
func (l *local) login(t *testing.T) string {
	t.Helper()
	var last string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		status, header, body := l.request(t, "POST", "/login", "", ada)
		last = fmt.Sprintf("%d %s %s", status, header.Get("Earlybird"), body)
		var answer struct{ Token string }
		if status == http.StatusOK && header.Get("Earlybird") == `status=granted, campaign="1", rank=1, discount=30` &&
			json.Unmarshal([]byte(body), &answer) == nil {
			return answer.Token
		}
	}
	t.Fatalf("the login does not say rank 1: %s\n%s", last, l.output.String())
	return ""
}

func TestJourneyAndRestart(t *testing.T) {
	for _, c := range []struct {
		name string
		more []string
	}{
		{"miniredis", []string{"--miniredis"}},
		{"redis-server", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := exec.LookPath(cmp.Or(os.Getenv("EARLYBIRD_TEST_REDIS_SERVER"), "redis-server")); c.more == nil && err != nil {
				if os.Getenv("EARLYBIRD_REQUIRE_REAL") == "1" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			l := newLocal(t, c.more...)
			l.start(t)
			if status, _, body := l.request(t, "POST", "/users", "", ada); status != http.StatusCreated {
				t.Fatalf("POST /users: %d %s", status, body)
			}
			token := l.login(t)
			l.end(t, os.Interrupt)
			l.start(t)
			l.login(t) // the same rank again
			status, _, body := l.request(t, "GET", "/promotion", token, "")
			if status != http.StatusOK || !strings.Contains(body, `"rank":1`) {
				t.Errorf("GET /promotion with the token of before: %d %s", status, body)
			}
		})
	}
}

// TestShop: what a service behind the gateway makes of the header, and that
// nobody but the plugin writes it.
func TestShop(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	redisServer(t)
	l := newLocal(t)
	l.start(t)
	l.request(t, "POST", "/users", "", ada)
	token := l.login(t)
	price := func(token string, header ...string) (int, string, string) {
		t.Helper()
		status, answer, body := l.request(t, "GET", "/shop/price", token, "", header...)
		return status, answer.Get("Retry-After"), strings.TrimSpace(body)
	}
	const less, forged = `{"list":100.00,"discount":30,"price":70.00}`, `user="EVE", token="x", campaign="1", rank=1, discount=100`
	for name, tt := range map[string]struct {
		token  string
		header []string
		status int
		body   string
	}{
		"a grant":                   {token, nil, 200, less},
		"a forged header":           {token, []string{"Earlybird", forged}, 200, less},
		"no token":                  {"", nil, 401, ""},
		"no token, a forged header": {"", []string{"Earlybird", forged}, 401, ""},
		"the header removed":        {token, []string{"Connection", "earlybird"}, 401, ""},
	} {
		if status, _, body := price(tt.token, tt.header...); status != tt.status || tt.body != "" && body != tt.body {
			t.Errorf("%s: %d %s, want %d %s", name, status, body, tt.status, tt.body)
		}
	}

	// Whoever the edge has never seen is unknown to it while Redis does not answer.
	bob := strings.Replace(ada, "ada", "bob", 1)
	l.request(t, "POST", "/users", "", bob)
	_, _, body := l.request(t, "POST", "/login", "", bob)
	var answer struct{ Token string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	redis := l.redis(t)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(redis.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { _ = redis.Signal(syscall.SIGCONT) })
	if status, retry, body := price(answer.Token); status != http.StatusServiceUnavailable || retry == "" || !strings.Contains(body, "Your discount") {
		t.Errorf("while Redis is stopped: %d, Retry-After %q, %s", status, retry, body)
	}
	if status, _, body := price(token); status != http.StatusOK || body != less {
		t.Errorf("a known grant while Redis is stopped: %d %s", status, body)
	}
	must(redis.Signal(syscall.SIGCONT))
	testserver.Eventually(t, "the price is told again", func() bool {
		status, _, body := price(answer.Token)
		return status == http.StatusOK && body == less
	})
	l.end(t, os.Interrupt)
}

// redis returns the process of this stack's redis-server.
func (l *local) redis(t *testing.T) *os.Process {
	t.Helper()
	_, port, _ := net.SplitHostPort(l.flag("--redis"))
	entries, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, entry := range entries {
		text, _ := os.ReadFile(entry)
		if line := string(text); strings.Contains(line, "-server ") && strings.Contains(line, ":"+port) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(entry)))
			process, err := os.FindProcess(pid)
			if err != nil {
				t.Fatal(err)
			}
			return process
		}
	}
	t.Fatal("the stack runs no redis-server")
	return nil
}

// redisServer returns the program that the stack starts as Redis.
func redisServer(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath(cmp.Or(os.Getenv("EARLYBIRD_TEST_REDIS_SERVER"), "redis-server"))
	switch {
	case err != nil && os.Getenv("EARLYBIRD_REQUIRE_REAL") == "1":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	return program
}

// TestRedisServer: the tests can be run on another server than redis-server, and one
// that is not there is an error, not the embedded one.
func TestRedisServer(t *testing.T) {
	program := redisServer(t)
	named := filepath.Join(t.TempDir(), "another-server")
	if err := os.WriteFile(named, fmt.Appendf(nil, "#!/bin/sh\nexec '%s' \"$@\"\n", program), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EARLYBIRD_TEST_REDIS_SERVER", named)
	l := newLocal(t)
	l.waits = "redis-server (" + named + ")"
	l.start(t)
	l.end(t, os.Interrupt)
	if out, code := newLocal(t, "--redis-server", "/nonexistent").run(t); code != 1 || !strings.Contains(out, "--redis-server: ") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// TestNoGateway: everything else runs, its port is left to a real Kong, and
// what to type for that is said.
func TestNoGateway(t *testing.T) {
	l := newLocal(t, "--miniredis", "--no-gateway")
	l.waits = "earlybird kong render --identity http://" + l.flag("--identity") + " --redis redis://" + l.flag("--redis") + "/0 "
	l.start(t)
	response, err := http.Get("http://" + l.flag("--identity") + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("GET /readyz: %d", response.StatusCode)
	}
	port, err := net.Listen("tcp", l.flag("--gateway"))
	if err != nil {
		t.Fatalf("the gateway's port is taken: %v", err)
	}
	_ = port.Close()
	l.end(t, os.Interrupt)
}

func TestDeadChildrenAreStartedAgainAndNoneIsLeftBehind(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	l := newLocal(t, "--miniredis")
	l.start(t)
	l.request(t, "POST", "/users", "", ada)
	l.login(t)
	for _, name := range []string{"earlybird-tag", "earlybird-auth", "earlybird-identity"} {
		pid := l.child(name)
		if pid == 0 {
			t.Fatalf("%s does not run", name)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	l.login(t)
	testserver.Eventually(t, "the auth plugin runs again", func() bool {
		status, _, _ := l.request(t, "GET", "/promotion", "", "")
		return status == http.StatusUnauthorized
	})
	l.end(t, os.Kill)
	for _, name := range []string{"earlybird-tag", "earlybird-auth", "earlybird-identity"} {
		testserver.Eventually(t, name+" is gone", func() bool { return l.child(name) == 0 })
	}
}

// child returns the process id of a program that was started from this
// stack's folder with this stack's settings, or 0.
func (l *local) child(name string) int {
	program := filepath.Join(filepath.Dir(l.args[0]), name)
	mine := []string{l.flag("--data"), l.flag("--identity")}
	entries, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, entry := range entries {
		text, _ := os.ReadFile(entry)
		line := string(text)
		if strings.HasPrefix(line, program+"\x00") && (strings.Contains(line, mine[0]) || strings.Contains(line, mine[1])) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(entry)))
			return pid
		}
	}
	return 0
}

func TestWhatCannotStartSaysWhy(t *testing.T) {
	l := newLocal(t, "--miniredis")
	for flag, what := range map[string]string{"--redis": "Redis", "--shop": "the shop"} {
		busy, err := net.Listen("tcp", l.flag(flag))
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.flag(flag))
		out, code := l.run(t)
		if code != 1 || !strings.Contains(out, "port "+port+", for "+what+", is in use") || !strings.Contains(out, "such as "+flag+" 127.0.0.1:") {
			t.Errorf("with the port of %s in use: status %d, %s", what, code, out)
		}
		_ = busy.Close()
	}
	l.start(t)
	if out, code := l.run(t); code != 1 || !strings.Contains(out, "another earlybird-local is using "+l.flag("--data")) {
		t.Errorf("with its folder in use: status %d, %s", code, out)
	}
	info, err := os.Stat(filepath.Join(l.flag("--data"), "key-secret"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key secret: %v, %v; want mode 0600", info, err)
	}
	l.end(t, os.Interrupt)
}

// run runs the stack to its end and returns its output and exit status.
func (l *local) run(t *testing.T) (string, int) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), l.args[0], l.args[1:]...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), exit.ExitCode()
}

func TestVersion(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"earlybird-local", "--version"}, &out, io.Discard); err != nil || !strings.HasPrefix(out.String(), "earlybird-local version ") {
		t.Errorf("--version says %q, %v", &out, err)
	}
}

func TestWrongCommandLines(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"an unknown flag":     {[]string{"--nothing"}, "nothing"},
		"an unknown command":  {[]string{"nothing"}, `unknown command "nothing"`},
		"a wrong level":       {[]string{"--log-level", "loud"}, "--log-level"},
		"a registration":      {[]string{"--registration", "closed"}, `--registration "closed": must be open or code`},
		"an address":          {[]string{"--identity", "127.0.0.1"}, `--identity "127.0.0.1": must be host:port`},
		"a port":              {[]string{"--mongo", "127.0.0.1:70000"}, `--mongo "127.0.0.1:70000": must be host:port`},
		"a port's name":       {[]string{"--redis", "127.0.0.1:redis"}, `--redis "127.0.0.1:redis"`},
		"a URL":               {[]string{"--gateway", "http://127.0.0.1:8000"}, "--gateway"},
		"no gateway":          {[]string{"--gateway", ""}, "--no-gateway"},
		"no address":          {[]string{"--redis", ""}, "--redis"},
		"the shop's address":  {[]string{"--shop", "8080"}, `--shop "8080": must be host:port`},
		"the shop's twice":    {[]string{"--shop", "127.0.0.1:8000"}, "--gateway and --shop are both 127.0.0.1:8000"},
		"one address twice":   {[]string{"--identity", "127.0.0.1:6479"}, "--identity and --redis are both 127.0.0.1:6479"},
		"one port twice":      {[]string{"--identity", ":6479"}, "--identity and --redis are both"},
		"no folder":           {[]string{"--data", ""}, "--data"},
		"a file":              {[]string{"--data", "main_test.go"}, `--data "main_test.go": is a file`},
		"a folder that fails": {[]string{"--data", "what?"}, "there must be no ?"},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(t.Context(), append([]string{"earlybird-local"}, c.args...), io.Discard, io.Discard)
			var usage usageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want a usage error about %s", err, c.want)
			}
		})
	}
	t.Run("everything at once", func(t *testing.T) {
		err := run(t.Context(), strings.Fields("earlybird-local --log-level loud --gateway x --mongo y:0 --data what? extra"), io.Discard, io.Discard)
		for _, want := range []string{"--log-level", "--gateway", "--mongo", "--data", `"extra"`} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v does not name %s", err, want)
			}
		}
	})
	t.Run("a variable", func(t *testing.T) {
		t.Setenv("EARLYBIRD_MINIREDIS", "perhaps")
		err := run(t.Context(), []string{"earlybird-local", "extra"}, io.Discard, io.Discard)
		var usage usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), "perhaps") {
			t.Errorf("error %v, want a usage error about perhaps", err)
		}
	})
	if _, err := os.Stat("what?"); err == nil {
		t.Error("a refused folder was made")
	}
}

// TestRegistrationWithCodes: the variable is enough, and what to type next begins
// with a code.
func TestRegistrationWithCodes(t *testing.T) {
	t.Setenv("EARLYBIRD_REGISTRATION", "code")
	l := newLocal(t, "--miniredis")
	l.waits = "enrol issue --customers customers.csv --yes"
	l.start(t)
	if status, _, body := l.request(t, "POST", "/users", "", ada); status != http.StatusUnprocessableEntity || !strings.Contains(body, "code: is required") {
		t.Errorf("POST /users without a code: %d %s", status, body)
	}
	l.end(t, os.Interrupt)
}

// TestAProgramThatCannotStartEndsTheStart: identity refuses a key secret that is
// none, and says so.
func TestAProgramThatCannotStartEndsTheStart(t *testing.T) {
	l := newLocal(t, "--miniredis")
	if err := os.WriteFile(filepath.Join(l.flag("--data"), "key-secret"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := l.run(t)
	last := out[strings.LastIndex(strings.TrimSpace(out), "earlybird-local: "):]
	if code != 1 || !strings.Contains(last, "identity ended before it was ready (exit status ") || !strings.Contains(last, "key-secret-file") {
		t.Errorf("status %d, %s", code, out)
	}
	if strings.Contains(out, "started again") {
		t.Errorf("it was started again: %s", out)
	}
}

// TestSettingsOfTheCommandLineDoNotBreakTheStack: who runs bin/earlybird
// against other stores has these variables set.
func TestSettingsOfTheCommandLineDoNotBreakTheStack(t *testing.T) {
	for name, value := range map[string]string{
		"MONGO_URL": "mongodb://127.0.0.1:1/x", "MONGO_USER": "u", "MONGO_PASSWORD_FILE": "/nonexistent", "MONGO_CA_FILE": "/nonexistent",
		"REDIS_URL": "rediss://127.0.0.1:1/0", "REDIS_PASSWORD_FILE": "/nonexistent", "REDIS_CA_FILE": "/nonexistent", "REDIS_REPLICAS": "2",
		"ISSUER": "https://other.example", "AUDIENCE": "other", "LISTEN": "127.0.0.1:1", "CLIENT_ID": "", "KEY_SECRET_FILE": "/nonexistent",
	} {
		t.Setenv("EARLYBIRD_"+name, value)
	}
	l := newLocal(t, "--miniredis")
	l.start(t)
	if out := l.output.String(); out != "" {
		t.Errorf("a first start logs: %s", out)
	}
	l.request(t, "POST", "/users", "", ada)
	token := l.login(t)
	if status, _, body := l.request(t, "GET", "/promotion", token, ""); status != http.StatusOK {
		t.Errorf("GET /promotion: %d %s", status, body)
	}
	l.end(t, os.Interrupt)
}
