package pluginserver_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/plugin/pluginserver"
)

func TestHandlersThatEndInEveryWay(t *testing.T) {
	var nilMap map[string]int
	tests := []struct {
		name     string
		response bool
		handle   func(context.Context, *pluginserver.Event) pluginserver.Verdict
		wantExit int
		wantBody string
		wantCall []string
	}{
		{"continues", false, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			v, err := e.RequestHeader("x")
			if err != nil || v != "y" {
				return pluginserver.Undecided
			}
			if e.SetServiceHeader("A", v) != nil {
				return pluginserver.Undecided
			}
			return pluginserver.Continue
		}, 0, "", []string{"kong.request.get_header", "kong.service.request.set_header A: y"}},
		{"exits", false, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			return e.Exit(pluginserver.NewResponse(401, map[string][]string{"X": {"1"}}, []byte("no")))
		}, 401, "no", nil},
		{"decides nothing", false, func(context.Context, *pluginserver.Event) pluginserver.Verdict {
			return pluginserver.Undecided
		}, 500, "failed", nil},
		{"makes up a verdict", false, func(context.Context, *pluginserver.Event) pluginserver.Verdict { return 42 }, 500, "failed", nil},
		{"panics", false, func(context.Context, *pluginserver.Event) pluginserver.Verdict {
			nilMap["x"] = 1
			return pluginserver.Continue
		}, 500, "failed", nil},
		{"panics with nil after a call", false, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			_, _ = e.RequestHeader("x")
			panic(nil)
		}, 500, "failed", []string{"kong.request.get_header"}},
		{"goes on after a call that cannot be encoded", false, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			if e.SetServiceHeader("A", "\xff") == nil {
				return pluginserver.Continue
			}
			_ = e.SetServiceHeader("B", "b")
			return pluginserver.Continue
		}, 0, "", []string{"kong.service.request.set_header B: b"}},
		{"ends on a call that cannot be encoded", false, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			_ = e.SetServiceHeader("A", "\xff")
			return pluginserver.Continue
		}, 0, "", nil},
		{"a reply that cannot be decoded", false, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			if _, err := e.RequestHeader("bytes"); err == nil {
				return pluginserver.Undecided
			}
			_ = e.SetServiceHeader("B", "b")
			return pluginserver.Continue
		}, 0, "", []string{"kong.request.get_header", "kong.service.request.set_header B: b"}},
		{"a reply over the limit", false, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			if _, err := e.RequestHeader("huge"); err == nil {
				return pluginserver.Undecided
			}
			_ = e.SetServiceHeader("B", "b")
			return pluginserver.Continue
		}, 0, "", []string{"kong.request.get_header", "kong.service.request.set_header B: b"}},
		{"response: panics", true, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			_, _ = e.RequestHeader("x")
			nilMap["x"] = 1
			return pluginserver.Continue
		}, 0, "", []string{"kong.request.get_header", "kong.response.set_header Earlybird: status=pending"}},
		{"response: decides nothing", true, func(context.Context, *pluginserver.Event) pluginserver.Verdict {
			return pluginserver.Undecided
		}, 0, "", []string{"kong.response.set_header Earlybird: status=pending"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config, phase := pluginserver.Config{Plugin: accessPlugin(), MaxFrame: 10_000}, "access"
			if tt.response {
				config.Plugin, phase = responsePlugin(), "response"
			}
			plugin := newKong(t, serve(t, config, handlerOf(tt.handle)))
			for range 3 { // the process lives on, and so may the connection
				k := &kong{headers: map[string]string{"x": "y", "bytes": "\xff\xfe", "huge": strings.Repeat("x", 50_000)}}
				result, err := plugin.Handle(ctxFor(t), event(k, phase))
				if err != nil {
					t.Fatal(err)
				}
				checkExit(t, result, tt.wantExit, tt.wantBody)
				if got := fmt.Sprint(withoutLog(k.called())); got != fmt.Sprint(tt.wantCall) {
					t.Errorf("calls %s, want %s", got, tt.wantCall)
				}
			}
		})
	}
}

func TestPanicIsLoggedWithItsStackCountedAndToldToKong(t *testing.T) {
	s := serve(t, pluginserver.Config{}, handlerOf(func(context.Context, *pluginserver.Event) pluginserver.Verdict { panic("boom") }))
	plugin := newKong(t, s)
	k := &kong{}
	for range 2 {
		if _, err := plugin.Handle(ctxFor(t), event(k, "access")); err != nil {
			t.Fatal(err)
		}
	}
	if text := s.log.String(); !strings.Contains(text, "boom") || !strings.Contains(text, "server_test.go") {
		t.Errorf("no stack in the log: %s", text)
	}
	if calls := k.called(); len(calls) != 1 || calls[0] != "kong.log.err" {
		t.Errorf("the second event tells Kong once: %q", calls)
	}
	if n := s.counted(t, "earlybird_plugin_panics_total"); n != 2 {
		t.Errorf("%v panics are counted, want 2", n)
	}
}

func TestHandlerThatRunsTooLongIsOverruled(t *testing.T) {
	tests := []struct {
		name     string
		plugin   pluginserver.Definition
		wantExit int
		wantCall []string
	}{
		{"access", accessPlugin(), 500, nil},
		{"response", responsePlugin(), 0, []string{"kong.response.set_header Earlybird: status=pending"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			release, told := make(chan struct{}), make(chan struct{})
			s := serve(t, pluginserver.Config{Plugin: tt.plugin, HandlerTimeout: 30 * time.Millisecond},
				handlerOf(func(ctx context.Context, e *pluginserver.Event) pluginserver.Verdict {
					<-ctx.Done()
					close(told)
					<-release // deaf to its context
					_ = e.SetServiceHeader("Late", "x")
					return pluginserver.Continue
				}))
			k := &kong{}
			result, err := newKong(t, s).Handle(ctxFor(t), event(k, tt.plugin.Phase))
			if err != nil {
				t.Fatal(err)
			}
			checkExit(t, result, tt.wantExit, "failed")
			<-told
			close(release)
			s.stop()
			if err := <-s.done; err != nil {
				t.Error(err)
			}
			if got := fmt.Sprint(k.called()); got != fmt.Sprint(tt.wantCall) {
				t.Errorf("calls %s, want %s", got, tt.wantCall)
			}
			if n := s.counted(t, "earlybird_plugin_overruled_total"); n != 1 {
				t.Errorf("%v overruled handlers are counted, want 1", n)
			}
		})
	}
}

func TestHandlerIsOverruledWhileKongAnswers(t *testing.T) {
	s := serve(t, pluginserver.Config{HandlerTimeout: 30 * time.Millisecond},
		handlerOf(func(ctx context.Context, e *pluginserver.Event) pluginserver.Verdict {
			_, _ = e.RequestHeader("x")
			return pluginserver.Continue
		}))
	k := &kong{block: make(chan struct{})}
	go func() {
		for !strings.Contains(s.log.String(), "handler ran too long") {
			time.Sleep(time.Millisecond)
		}
		close(k.block)
	}()
	result, err := newKong(t, s).Handle(ctxFor(t), event(k, "access"))
	if err != nil {
		t.Fatal(err)
	}
	checkExit(t, result, 500, "failed")
}

// A Kong that does not read holds neither the handler nor its connection for
// longer than the handler's time.
func TestKongThatDoesNotRead(t *testing.T) {
	ended := make(chan error, 1)
	tooMuch := strings.Repeat("a", 2<<20) // for a socket to take
	s := serve(t, pluginserver.Config{HandlerTimeout: 300 * time.Millisecond},
		handlerOf(func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			ended <- e.SetServiceHeader("A", tooMuch)
			return pluginserver.Continue
		}))
	client := kongwire.NewClient(s.socket)
	defer client.Close()
	id, err := client.StartInstance(ctxFor(t), "p", []byte(`{"__seq__":1}`))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	call, err := proto.Marshal(&kong_plugin_protocol.RpcCall{Sequence: 1, Call: &kong_plugin_protocol.RpcCall_CmdHandleEvent{
		CmdHandleEvent: &kong_plugin_protocol.CmdHandleEvent{InstanceId: id, EventName: "access"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := kongwire.WriteFrame(conn, call); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the call has succeeded")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the handler is held")
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	sent, err := io.ReadAll(conn)
	if err != nil || len(sent) > 1000 && bytes.Contains(sent, []byte("failed")) {
		t.Errorf("%d bytes, %v; want a part of the call and the end, nothing between", len(sent), err)
	}
}

func TestUnknownPhaseIsNotRunAgain(t *testing.T) {
	plugin := newKong(t, serve(t, pluginserver.Config{}, handlerOf(func(context.Context, *pluginserver.Event) pluginserver.Verdict {
		return pluginserver.Continue
	})))
	result, err := plugin.Handle(ctxFor(t), event(&kong{}, "log"))
	if err != nil {
		t.Fatal(err)
	}
	checkExit(t, result, 500, "failed")
}
