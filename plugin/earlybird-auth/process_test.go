package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/deploy/plugintest"
)

// asPlugin makes this test's executable the plugin.
const asPlugin = "EARLYBIRD_AUTH_TEST_AS_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		main()
	}
	os.Exit(m.Run())
}

// respawned is the plugin as a process that is started again when it dies.
type respawned struct {
	mu      sync.Mutex
	current *exec.Cmd
	starts  atomic.Int64
}

// respawn starts the plugin again and again until the test ends, as Kong does.
func respawn(t *testing.T, socket string) *respawned {
	t.Helper()
	r := &respawned{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			cmd := exec.CommandContext(ctx, os.Args[0], "-socket", socket, "-log-level", "error")
			cmd.Env = []string{asPlugin + "=1"}
			if err := cmd.Start(); err != nil {
				t.Error(err)
				return
			}
			r.mu.Lock()
			r.current = cmd
			r.mu.Unlock()
			r.starts.Add(1)
			_ = cmd.Wait() // it is killed
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	waitForSocket(t, socket)
	return r
}

func (r *respawned) kill(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.current.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}

// The plugin is killed under the load of 256 connections and started again.
// Meanwhile a request may fail, and never passes without its header; after the
// start all of them pass again.
func TestPluginKilledUnderLoad(t *testing.T) {
	const connections = 256
	b := newBench(t)
	raw, claims := b.identity.Token(t, "u")
	socket := filepath.Join(t.TempDir(), "p.socket")
	process := respawn(t, socket)
	plugin := kongwire.NewPlugin(kongwire.Config{Name: "earlybird-auth", Socket: socket})
	defer plugin.Close()

	var passed, failed atomic.Int64
	one := func() {
		r := &plugintest.Request{Header: map[string]string{"authorization": "Bearer " + raw}}
		result, err := plugin.Handle(t.Context(), b.kong.Event(b.config, r))
		switch {
		case err != nil, result.Exit != nil && result.Exit.Status == 503:
			failed.Add(1)
			time.Sleep(time.Millisecond) // a dead plugin is no load
		case result.Exit != nil:
			t.Errorf("exit %d", result.Exit.Status)
		case !strings.Contains(r.Upstream["Earlybird"], claims.ID):
			t.Errorf("passed with %q", r.Upstream)
		default:
			passed.Add(1)
		}
	}
	var load sync.WaitGroup
	stop := make(chan struct{})
	for range connections {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					one()
				}
			}
		})
	}
	for kills := int64(1); kills <= 2; kills++ {
		before := passed.Load()
		within(t, 20*time.Second, "requests pass", func() bool { return passed.Load() > before+2*connections })
		process.kill(t)
		within(t, 10*time.Second, "the plugin is started again", func() bool { return process.starts.Load() > kills })
		waitForSocket(t, socket)
	}
	before := passed.Load()
	within(t, 20*time.Second, "requests pass again", func() bool { return passed.Load() > before+2*connections })
	close(stop)
	load.Wait()
	lost := failed.Load()
	for range connections {
		one()
	}
	if failed.Load() != lost {
		t.Errorf("%d requests fail after the plugin has come back", failed.Load()-lost)
	}
	t.Logf("%d passed, %d failed while the plugin was dead", passed.Load(), failed.Load())
}
