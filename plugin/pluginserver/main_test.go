package pluginserver_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/plugin/pluginserver"
)

// asPlugin makes this test's executable a plugin.
const asPlugin = "PLUGINSERVER_TEST_AS_PLUGIN"

// orphanWait is how long it waits for connections as an orphan.
const orphanWait = "PLUGINSERVER_TEST_ORPHAN_WAIT"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		if wait, err := time.ParseDuration(os.Getenv(orphanWait)); err == nil {
			pluginserver.SetOrphanWait(wait)
		}
		os.Exit(pluginserver.Main(os.Args[1:], os.Stdout, os.Stderr, definition))
	}
	os.Exit(m.Run())
}

// definition is a plugin that says what its process was given.
func definition() pluginserver.Definition {
	d := accessPlugin()
	d.New = func(_ context.Context, p pluginserver.Process) (pluginserver.StartFunc, error) {
		return func(context.Context, []byte) (pluginserver.Instance, error) {
			return stub{handle: func(ctx context.Context, e *pluginserver.Event) pluginserver.Verdict {
				url, err := p.RedisURL()
				if err != nil || e.SetServiceHeader("URL", url) != nil {
					return pluginserver.Undecided
				}
				return pluginserver.Continue
			}}, nil
		}, nil
	}
	return d
}

func plugin(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asPlugin+"=1")
	return cmd
}

func TestUsage(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want int
	}{
		{"help", []string{"-help"}, 0},
		{"unknown flag", []string{"-nonsense"}, 2},
		{"argument", []string{"nonsense"}, 2},
		{"wrong level", []string{"-log-level", "loud"}, 2},
		{"no address", []string{"-metrics-listen", "zzz", "-redis-url-file", "/nonexistent"}, 2},
		{"no port", []string{"-metrics-listen", "127.0.0.1:http"}, 2},
		{"a folder for a file", []string{"-redis-url-file", "/"}, 2},
		{"a path too long for a socket", []string{"-socket", "/" + strings.Repeat("x", 200)}, 2},
		{"a wrong flag for a dump", []string{"-dump", "-metrics-listen", "zzz"}, 2},
		{"no folder", []string{"-socket", "/nonexistent/folder/p.socket"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stderr strings.Builder
			if got := pluginserver.Main(tt.args, io.Discard, &stderr, definition); got != tt.want {
				t.Errorf("exit status %d, want %d: %s", got, tt.want, stderr.String())
			}
			if stderr.Len() == 0 {
				t.Error("nothing is said")
			}
		})
	}
}

// Kong's prefix may be as deep as the socket's path allows.
func TestTheLongestPathOfASocket(t *testing.T) {
	prefix := t.TempDir()
	const name, limit = "/p.socket", 107
	folder := prefix + "/" + strings.Repeat("x", limit-len(prefix)-len(name)-1)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	listener, err := pluginserver.Listen(t.Context(), folder+name)
	if err != nil {
		t.Fatalf("a path of %d bytes: %v", len(folder+name), err)
	}
	_ = listener.Close()
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
		t.Errorf("%v is left, %v; want the socket", left, err)
	}
}

func TestUsageNamesEveryFault(t *testing.T) {
	var stderr strings.Builder
	if got := pluginserver.Main([]string{"-metrics-listen", "zzz", "-redis-url-file", "/", "extra"}, io.Discard, &stderr, definition); got != 2 {
		t.Errorf("exit status %d", got)
	}
	for _, want := range []string{`-metrics-listen "zzz": must be host:port`, "-redis-url-file /: is a folder", `unexpected argument "extra"`} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("%q is not in %s", want, stderr.String())
		}
	}
}

func TestDumpNamesTheSocket(t *testing.T) {
	var out bytes.Buffer
	if got := pluginserver.Main([]string{"-dump", "-kong-prefix", "/x"}, &out, io.Discard, definition); got != 0 {
		t.Fatalf("exit status %d", got)
	}
	d, err := kongwire.ParseDump(out.Bytes())
	if err != nil || d.SocketPath != "/x/p.socket" || d.Plugins[0].Name != "p" || fmt.Sprint(d.Plugins[0].Phases) != "[access]" {
		t.Errorf("got %+v, %v", d, err)
	}
}

// An address in use is no reason to die: an orphan may hold it. The process
// takes over the socket of one before it, which ends by itself, and ends on SIGTERM.
func TestProcess(t *testing.T) {
	dir := t.TempDir()
	socket, file := filepath.Join(dir, "p.socket"), filepath.Join(dir, "url")
	if err := os.WriteFile(file, []byte("redis://from-the-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	args := []string{"-socket", socket, "-redis-url-file", file, "-metrics-listen", taken.Addr().String()}
	orphan := start(t, args)
	waitFor(t, orphan, "plugin server is listening")
	next := start(t, args)
	waitFor(t, next, "plugin server is listening")
	waitFor(t, next, "metrics cannot be served")

	client := kongwire.NewPlugin(kongwire.Config{Name: "p", Socket: socket})
	t.Cleanup(client.Close)
	k := &kong{}
	if _, err := client.Handle(ctxFor(t), event(k, "access")); err != nil {
		t.Fatal(err)
	}
	if calls := withoutLog(k.called()); len(calls) != 1 || !strings.HasSuffix(calls[0], "URL: redis://from-the-file") {
		t.Errorf("calls %q", calls)
	}
	ends(t, orphan, "another process's")
	if err := next.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ends(t, next, "plugin server has drained")
}

// ends wants a process to end with 0, and to say this before.
func ends(t *testing.T, p *process, want string) {
	t.Helper()
	select {
	case err := <-p.done:
		if err != nil || !strings.Contains(p.log.String(), want) {
			t.Errorf("exit: %v; want %q in the log: %s", err, want, p.log)
		}
	case <-time.After(30 * time.Second):
		t.Errorf("the process does not end: %s", p.log)
	}
}

// A process whose socket is gone can be reached by nobody. It ends, and Kong
// starts the next one.
func TestProcessEndsWithItsSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "p.socket")
	p := start(t, []string{"-socket", socket})
	waitFor(t, p, "plugin server is listening")
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	ends(t, p, "the socket was removed")
}

// An orphan serves as long as a worker of Kong's is connected to it, and ends
// after that.
func TestOrphanServesAndEnds(t *testing.T) {
	dir := t.TempDir()
	socket, log := filepath.Join(dir, "p.socket"), filepath.Join(dir, "log")
	worker := exec.Command("/bin/sh", "-c", `"$0" -socket "$1" 2>"$2" & sleep 600`, os.Args[0], socket, log)
	worker.Env = append(os.Environ(), asPlugin+"=1", orphanWait+"=100ms")
	worker.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-worker.Process.Pid, syscall.SIGKILL) })
	says := func(want string) bool {
		text, err := os.ReadFile(log)
		return err == nil && strings.Contains(string(text), want)
	}
	testserver.Eventually(t, "it listens", func() bool { return says("plugin server is listening") })
	client := kongwire.NewPlugin(kongwire.Config{Name: "p", Socket: socket})
	t.Cleanup(client.Close)
	if _, err := client.Handle(ctxFor(t), event(&kong{}, "access")); err != nil {
		t.Fatal(err)
	}
	_ = worker.Process.Kill()
	_ = worker.Wait()
	for before := time.Now(); time.Since(before) < 2*time.Second; time.Sleep(100 * time.Millisecond) {
		if _, err := client.Handle(ctxFor(t), event(&kong{}, "access")); err != nil {
			t.Fatalf("an orphan that is connected to: %v", err)
		}
	}
	client.Close()
	testserver.Eventually(t, "the orphan ends", func() bool { return says("nobody connects") && says("plugin server has drained") })
}

// When the worker of Kong's that reads a plugin's log dies, the plugin serves on.
// SIGHUP is no reason either to drop what runs.
func TestLogWithoutReader(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "p.socket")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := plugin("-socket", socket)
	cmd.Stderr = writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = writer.Close(), reader.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	testserver.Eventually(t, "it listens", func() bool { _, err := os.Lstat(socket); return err == nil })
	client := kongwire.NewPlugin(kongwire.Config{Name: "p", Socket: socket})
	t.Cleanup(client.Close)
	for range 3 { // the start of an instance is logged
		if _, err := client.Handle(ctxFor(t), event(&kong{}, "access")); err != nil {
			t.Fatalf("after the reader of its log is gone: %v", err)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("after SIGHUP: %v", err)
	}
}

func TestMetricsAreServed(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	p := start(t, []string{"-socket", filepath.Join(t.TempDir(), "p.socket"), "-metrics-listen", address})
	waitFor(t, p, "plugin server is listening")
	var body string
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(body, "earlybird_plugin_instances"); {
		if time.Now().After(deadline) {
			t.Fatalf("got %q", body)
		}
		if response, err := http.Get("http://" + address + "/metrics"); err == nil {
			content, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			body = string(content)
		}
	}
}

type process struct {
	cmd  *exec.Cmd
	log  *testserver.Output
	done chan error
}

func start(t *testing.T, args []string) *process {
	t.Helper()
	p := &process{cmd: plugin(args...), log: &testserver.Output{}, done: make(chan error, 1)}
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		p.done <- p.cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-ended
	})
	return p
}

func waitFor(t *testing.T, p *process, text string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(p.log.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log never says %q: %s", text, p.log)
		}
	}
}
