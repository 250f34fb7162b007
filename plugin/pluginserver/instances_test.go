package pluginserver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/plugin/pluginserver"
)

func TestUnknownInstanceIsStartedAnew(t *testing.T) {
	var starts atomic.Int64
	config := pluginserver.Config{}
	start := func(context.Context, []byte) (pluginserver.Instance, error) {
		starts.Add(1)
		return stub{handle: func(context.Context, *pluginserver.Event) pluginserver.Verdict { return pluginserver.Continue }}, nil
	}
	s := serve(t, config, start)
	plugin := newKong(t, s)
	if _, err := plugin.Handle(ctxFor(t), event(&kong{}, "access")); err != nil {
		t.Fatal(err)
	}
	// The instance is gone, as after a restart of the plugin.
	other := kongwire.NewClient(s.socket)
	defer other.Close()
	if err := other.CloseInstance(ctxFor(t), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := other.HandleEvent(ctxFor(t), 1, "access", (&kong{}).answer); !errors.Is(err, kongwire.ErrClosed) {
		t.Fatalf("event of an unknown instance: %v, want ErrClosed", err)
	}
	if _, err := plugin.Handle(ctxFor(t), event(&kong{}, "access")); err != nil {
		t.Fatal(err)
	}
	if starts.Load() != 2 {
		t.Errorf("started %d times, want 2", starts.Load())
	}
}

func TestInstancesComeAndGo(t *testing.T) {
	const changes = 10_000
	var closed atomic.Int64
	s := serve(t, pluginserver.Config{}, func(context.Context, []byte) (pluginserver.Instance, error) {
		return stub{closed: &closed, handle: func(context.Context, *pluginserver.Event) pluginserver.Verdict { return pluginserver.Continue }}, nil
	})
	plugin := newKong(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // it is a lot for a busy machine
	defer cancel()
	for seq := int64(1); seq <= changes; seq++ {
		e := event(&kong{}, "access")
		e.Sequence, e.Config = seq, fmt.Appendf(nil, `{"__seq__":%d}`, seq)
		if _, err := plugin.Handle(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	if closed.Load() != changes-1 {
		t.Errorf("%d instances were closed, want %d", closed.Load(), changes-1)
	}
}

func TestInstanceIsClosedAfterItsLastHandler(t *testing.T) {
	var closed atomic.Int64
	running, release := make(chan struct{}), make(chan struct{})
	s := serve(t, pluginserver.Config{}, func(context.Context, []byte) (pluginserver.Instance, error) {
		return stub{closed: &closed, handle: func(context.Context, *pluginserver.Event) pluginserver.Verdict {
			close(running)
			<-release
			if closed.Load() != 0 {
				return pluginserver.Undecided
			}
			return pluginserver.Continue
		}}, nil
	})
	client := kongwire.NewClient(s.socket)
	defer client.Close()
	id, err := client.StartInstance(ctxFor(t), "p", []byte(`{"__seq__":1}`))
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan kongwire.Result, 1)
	go func() {
		result, err := client.HandleEvent(ctxFor(t), id, "access", (&kong{}).answer)
		if err != nil {
			t.Error(err)
		}
		results <- result
	}()
	<-running
	if err := client.CloseInstance(ctxFor(t), id); err != nil {
		t.Fatal(err)
	}
	close(release)
	checkExit(t, <-results, 0, "")
	for deadline := time.Now().Add(5 * time.Second); closed.Load() != 1; {
		if time.Now().After(deadline) {
			t.Fatal("not closed")
		}
	}
}

// Each of Kong's workers counts its configurations for itself, and closes its own
// instance alone.
func TestSameSequenceOfAnotherWorker(t *testing.T) {
	s := serve(t, pluginserver.Config{}, func(_ context.Context, config []byte) (pluginserver.Instance, error) {
		return stub{handle: func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			_ = e.SetServiceHeader("Config", string(config))
			return pluginserver.Continue
		}}, nil
	})
	client := kongwire.NewClient(s.socket)
	defer client.Close()
	open := func(config string) int32 {
		id, err := client.StartInstance(ctxFor(t), "p", []byte(config))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first, other, second := open(`{"__seq__":7,"a":"one"}`), open(`{"__seq__":7,"a":"one"}`), open(`{"__seq__":7,"a":"two"}`)
	if err := client.CloseInstance(ctxFor(t), other); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[int32]string{first: "one", second: "two"} {
		k := &kong{}
		if _, err := client.HandleEvent(ctxFor(t), id, "access", k.answer); err != nil {
			t.Fatal(err)
		}
		if calls := k.called(); len(calls) != 1 || !strings.Contains(calls[0], want) {
			t.Errorf("instance %d: %q, want configuration %q", id, calls, want)
		}
	}
}

func TestIdleInstancesAreForgotten(t *testing.T) {
	var closed, offset atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	s := serve(t, pluginserver.Config{Now: now}, func(context.Context, []byte) (pluginserver.Instance, error) {
		return stub{closed: &closed}, nil
	})
	client := kongwire.NewClient(s.socket)
	defer client.Close()
	for seq := range 3 {
		if _, err := client.StartInstance(ctxFor(t), "p", fmt.Appendf(nil, `{"__seq__":%d}`, seq+1)); err != nil {
			t.Fatal(err)
		}
		if seq == 1 {
			offset.Store(int64(2 * time.Hour))
		}
	}
	if closed.Load() != 2 {
		t.Errorf("%d instances were forgotten, want 2", closed.Load())
	}
}

func TestFailedStart(t *testing.T) {
	tests := map[string]pluginserver.StartFunc{
		"error": func(context.Context, []byte) (pluginserver.Instance, error) { return nil, errors.New("no") },
		"panic": func(context.Context, []byte) (pluginserver.Instance, error) { panic("no") },
		"none":  func(context.Context, []byte) (pluginserver.Instance, error) { return nil, nil },
	}
	for name, start := range tests {
		t.Run(name, func(t *testing.T) {
			plugin := newKong(t, serve(t, pluginserver.Config{}, start))
			for range 2 {
				if _, err := plugin.Handle(ctxFor(t), event(&kong{}, "access")); err == nil {
					t.Fatal("want an error, which is a 500")
				}
			}
		})
	}
}
