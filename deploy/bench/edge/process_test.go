//go:build linux

package edge_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/kongwire"
)

// process is a plugin's program at work.
type process struct {
	name    string
	pid     int
	socket  string
	metrics string // URL
}

// start runs a program of the folder until the test ends.
func start(t testing.TB, folder, name string) *process {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	prefix, err := os.MkdirTemp("", "bench") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	p := &process{name: name, socket: filepath.Join(prefix, name+".socket"), metrics: "http://" + address + "/metrics"}
	cmd := exec.Command(filepath.Join(folder, name), "-kong-prefix", prefix)
	if name != "stock" {
		cmd.Args = append(cmd.Args, "-log-level", "error", "-metrics-listen", address)
	}
	cmd.Env = []string{"STOCK_METRICS_LISTEN=" + address} // Kong gives its plugins none
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(prefix)
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("unix", p.socket); err == nil {
			_ = conn.Close()
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen", name)
		}
	}
}

// instance starts an instance with this configuration.
func (p *process) instance(t testing.TB, config map[string]any) int32 {
	t.Helper()
	config["__seq__"], config["__plugin_id"] = 1, "bench"
	encoded, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	client := kongwire.NewClient(p.socket)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	id, err := client.StartInstance(ctx, p.name, encoded)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// cpu is the time the process has had, in user and system mode.
func (p *process) cpu(t testing.TB) time.Duration {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		t.Fatalf("read %q", content)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 everywhere
}

// resident is the memory of the process, in bytes.
func (p *process) resident(t testing.TB) int64 {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(content))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// metric reads one of the process's metrics that has no labels.
func (p *process) metric(t testing.TB, name string) float64 {
	t.Helper()
	response, err := http.Get(p.metrics)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	value := -1.0
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			if value, err = strconv.ParseFloat(text, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	if value < 0 {
		t.Fatalf("%s has no metric %s", p.name, name)
	}
	return value
}

// mallocs is how many objects the process has allocated.
func (p *process) mallocs(t testing.TB) float64 {
	t.Helper()
	return p.metric(t, "go_memstats_mallocs_total")
}

// ownCPU is the time this process has had.
func ownCPU(t testing.TB) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
