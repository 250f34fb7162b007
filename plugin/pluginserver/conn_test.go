package pluginserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/plugin/pluginserver"
)

func TestBadFramesEndTheirConnectionOnly(t *testing.T) {
	s := serve(t, pluginserver.Config{MaxFrame: 1000}, handlerOf(func(context.Context, *pluginserver.Event) pluginserver.Verdict {
		return pluginserver.Continue
	}))
	tests := map[string][]byte{
		"too large":  {0xff, 0xff, 0xff, 0xff, 1, 2, 3},
		"over limit": {0xe9, 3, 0, 0},
		"empty":      {0, 0, 0, 0},
		"garbage":    {3, 0, 0, 0, 0xff, 0xff, 0xff},
		"no call":    {2, 0, 0, 0, 8, 1},
	}
	for name, sent := range tests {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("unix", s.socket)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := conn.Write(sent); err != nil {
				t.Fatal(err)
			}
			var b [1]byte
			if n, err := conn.Read(b[:]); n != 0 || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %d bytes, %v; want the end", n, err)
			}
			if _, err := newKong(t, s).Handle(ctxFor(t), event(&kong{}, "access")); err != nil {
				t.Errorf("others are served on: %v", err)
			}
		})
	}
	if n := s.counted(t, "earlybird_plugin_bad_frames_total"); n != float64(len(tests)) {
		t.Errorf("%v bad frames are counted, want %d", n, len(tests))
	}
}

func TestDrainFinishesWhatRuns(t *testing.T) {
	running, release := make(chan struct{}), make(chan struct{})
	s := serve(t, pluginserver.Config{DrainIdle: 10 * time.Millisecond}, handlerOf(func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
		close(running)
		<-release
		if err := e.SetServiceHeader("A", "a"); err != nil {
			return pluginserver.Undecided
		}
		return pluginserver.Continue
	}))
	k := &kong{}
	type outcome struct {
		result kongwire.Result
		err    error
	}
	ended := make(chan outcome, 1)
	plugin := newKong(t, s)
	go func() {
		result, err := plugin.Handle(ctxFor(t), event(k, "access"))
		ended <- outcome{result, err}
	}()
	<-running
	s.stop()
	for { // until the listener is closed
		conn, err := net.Dial("unix", s.socket)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	close(release)
	if got := <-ended; got.err != nil || got.result.Exit != nil || len(k.called()) != 1 {
		t.Errorf("got %+v, calls %q", got, k.called())
	}
	if err := <-s.done; err != nil {
		t.Error(err)
	}
}

func TestManyConnectionsAtOnce(t *testing.T) {
	s := serve(t, pluginserver.Config{}, handlerOf(func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
		v, err := e.RequestHeader("x")
		if err != nil || e.SetServiceHeader("X", v) != nil {
			return pluginserver.Undecided
		}
		return pluginserver.Continue
	}))
	plugin := newKong(t, s)
	ctx := ctxFor(t)
	var wg sync.WaitGroup
	for i := range 256 {
		wg.Go(func() {
			for j := range 5 {
				own := fmt.Sprint(i, "-", j)
				k := &kong{headers: map[string]string{"x": own}}
				result, err := plugin.Handle(ctx, event(k, "access"))
				if err != nil || result.Exit != nil {
					t.Errorf("%v %+v", err, result.Exit)
					return
				}
				if calls := k.called(); calls[len(calls)-1] != "kong.service.request.set_header X: "+own {
					t.Errorf("calls %q", calls)
				}
			}
		})
	}
	wg.Wait()
}

func TestDump(t *testing.T) {
	var out strings.Builder
	d := accessPlugin()
	d.Version, d.Priority = "1.2.3", 1450
	if err := pluginserver.WriteDump(&out, d, "/run/p.socket"); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	plugins, _ := got["Plugins"].([]any)
	if got["Protocol"] != "ProtoBuf:1" || got["SocketPath"] != "/run/p.socket" || len(plugins) != 1 {
		t.Fatalf("got %s", out.String())
	}
	info, _ := plugins[0].(map[string]any)
	for _, member := range []string{"Name", "Phases", "Version", "Priority", "Schema"} {
		if info[member] == nil {
			t.Errorf("no %s in %s", member, out.String())
		}
	}
}
