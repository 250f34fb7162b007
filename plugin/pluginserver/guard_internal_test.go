package pluginserver

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestGuard(t *testing.T) {
	const parent = 4711
	tests := []struct {
		name        string
		socket      func(t *testing.T, path string) // what happens to it
		ppid        int
		connections int
		unused      time.Duration
		want        string
	}{
		{"all is well, and nobody connects for a day", nil, parent, 0, 24 * time.Hour, ""},
		{"removed", func(t *testing.T, path string) {
			t.Helper()
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, parent, 3, 0, "was removed"},
		{"another process's", func(t *testing.T, path string) {
			t.Helper()
			listenAt(t, path)
		}, parent, 3, 0, "another process's"},
		{"removed, and then another process's", func(t *testing.T, path string) {
			t.Helper()
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			listenAt(t, path)
		}, parent, 3, 0, "another process's"},
		{"a file", func(t *testing.T, path string) {
			t.Helper()
			if err := os.Rename(path, path+".old"); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, parent, 0, 0, "another process's"},
		{"an orphan that other workers use", nil, 1, 1, time.Hour, ""},
		{"an orphan that was used a minute ago", nil, 1, 0, time.Minute, ""},
		{"an orphan that nobody uses", nil, 1, 0, 2 * time.Minute, "nobody connects"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "p.socket")
			listenAt(t, path)
			bound, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			if tt.socket != nil {
				tt.socket(t, path)
			}
			g := &guard{
				socket: path, bound: bound, parent: parent, wait: orphanWait,
				ppid: func() int { return tt.ppid },
				open: func() (int, time.Time) { return tt.connections, now.Add(-tt.unused) },
				now:  func() time.Time { return now },
			}
			if got := g.useless(); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func listenAt(t *testing.T, path string) {
	t.Helper()
	listener, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
}

// full is a listener of a process that has no file descriptor left, until it is
// closed.
type full struct {
	net.Listener
	tries int
}

func (f *full) Accept() (net.Conn, error) {
	if f.tries++; f.tries > 7 {
		return nil, net.ErrClosed
	}
	return nil, &net.OpError{Op: "accept", Net: "unix", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
}

// With no file descriptor left, accepting fails at once, again and again: it is
// tried less and less often, and said once.
func TestAcceptBacksOff(t *testing.T) {
	var said strings.Builder
	s := &Server{config: Config{Now: time.Now}, log: slog.New(slog.NewTextHandler(&said, nil))}
	before := time.Now()
	if err := s.accept(t.Context(), &full{}, t.Context().Done()); err == nil {
		t.Error("a closed listener is no error")
	}
	if took := time.Since(before); took < 635*time.Millisecond { // 5 ms, 10 ms ... 320 ms
		t.Errorf("seven tries in %s", took)
	}
	if n := strings.Count(said.String(), "cannot be accepted"); n != 1 {
		t.Errorf("said %d times: %s", n, said.String())
	}
}

// Kong shows no more of a plugin's line than the text.
func TestRelayNamesThePlugin(t *testing.T) {
	r := newRelay("earlybird-auth", time.Now)
	r.add(slog.NewRecord(time.Now(), slog.LevelWarn, "redis does not answer", 0))
	if len(r.queue) != 1 || r.queue[0].text != "earlybird-auth: redis does not answer" {
		t.Errorf("Kong is to log %+v", r.queue)
	}
}
