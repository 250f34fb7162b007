package pluginserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"

	"github.com/earlybird/earlybird/plugin/kongwire"
	"github.com/earlybird/earlybird/plugin/pluginserver"
)

// stub is an instance made of functions.
type stub struct {
	handle func(ctx context.Context, e *pluginserver.Event) pluginserver.Verdict
	closed *atomic.Int64
}

func (s stub) Handle(ctx context.Context, e *pluginserver.Event) pluginserver.Verdict {
	return s.handle(ctx, e)
}

func (s stub) Close() {
	if s.closed != nil {
		s.closed.Add(1)
	}
}

// served is a server on a socket of its own.
type served struct {
	socket string
	stop   func() // begins to drain
	done   <-chan error
	log    *logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.String()
}

func serve(t testing.TB, config pluginserver.Config, start pluginserver.StartFunc) served {
	t.Helper()
	if config.Plugin.Phase == "" {
		config.Plugin = accessPlugin()
	}
	config.Plugin.New = func(context.Context, pluginserver.Process) (pluginserver.StartFunc, error) { return start, nil }
	log := &logBuffer{}
	config.Process.Log = slog.New(slog.NewJSONHandler(log, nil))
	background, cancel := context.WithCancel(context.Background())
	server, err := pluginserver.New(background, config)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "p.socket")
	listener, err := pluginserver.Listen(background, socket)
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(background)
	result := make(chan error, 1)
	stopped := make(chan struct{})
	go func() {
		result <- server.Serve(serving, listener)
		close(stopped)
	}()
	t.Cleanup(func() {
		stop()
		<-stopped
		cancel()
	})
	return served{socket: socket, stop: stop, done: result, log: log}
}

func accessPlugin() pluginserver.Definition {
	return pluginserver.Definition{Name: "p", Phase: "access", Fallback: pluginserver.ExitFallback(pluginserver.NewResponse(500, nil, []byte("failed")))}
}

func responsePlugin() pluginserver.Definition {
	return pluginserver.Definition{Name: "p", Phase: "response", Fallback: pluginserver.HeaderFallback("Earlybird", "status=pending")}
}

// kong answers the calls of one event and notes them.
type kong struct {
	mu      sync.Mutex
	calls   []string
	headers map[string]string // request headers
	block   chan struct{}     // when set, every call waits for it
}

func (k *kong) answer(method string, args []byte) (proto.Message, error) {
	if k.block != nil {
		<-k.block
	}
	var name kong_plugin_protocol.String
	var pair kong_plugin_protocol.KV
	call := method
	var reply proto.Message
	switch method {
	case "kong.request.get_header":
		if err := proto.Unmarshal(args, &name); err != nil {
			return nil, err
		}
		// Kong sends any bytes in a string.
		reply = &kong_plugin_protocol.ByteString{V: []byte(k.headers[name.GetV()])}
	case "kong.response.set_header", "kong.service.request.set_header":
		if err := proto.Unmarshal(args, &pair); err != nil {
			return nil, err
		}
		call += " " + pair.GetK() + ": " + pair.GetV().GetStringValue()
	}
	k.mu.Lock()
	k.calls = append(k.calls, call)
	k.mu.Unlock()
	return reply, nil
}

func (k *kong) called() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.calls...)
}

func event(k *kong, phase string) kongwire.Event {
	return kongwire.Event{PluginID: "a", Sequence: 7, Config: []byte(`{"__seq__":7,"__plugin_id":"a"}`), Phase: phase, PDK: k.answer}
}

func newKong(t testing.TB, s served) *kongwire.Plugin {
	p := kongwire.NewPlugin(kongwire.Config{Name: "p", Socket: s.socket})
	t.Cleanup(p.Close)
	return p
}

func ctxFor(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func handlerOf(handle func(context.Context, *pluginserver.Event) pluginserver.Verdict) pluginserver.StartFunc {
	return func(context.Context, []byte) (pluginserver.Instance, error) { return stub{handle: handle}, nil }
}

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
			v, err := e.Kong.Request.GetHeader("x")
			if err != nil || v != "y" {
				return pluginserver.Undecided
			}
			if e.Kong.ServiceRequest.SetHeader("A", v) != nil {
				return pluginserver.Undecided
			}
			return pluginserver.Continue
		}, 0, "", []string{"kong.request.get_header", "kong.service.request.set_header A: y"}},
		{"exits", false, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			return e.Exit(pluginserver.NewResponse(401, map[string][]string{"X": {"1"}}, []byte("no")))
		}, 401, "no", nil},
		{"exits through the PDK", false, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			e.Kong.Response.Exit(403, []byte("no"), nil)
			return pluginserver.Undecided
		}, 403, "no", nil},
		{"decides nothing", false, func(context.Context, *pluginserver.Event) pluginserver.Verdict {
			return pluginserver.Undecided
		}, 500, "failed", nil},
		{"makes up a verdict", false, func(context.Context, *pluginserver.Event) pluginserver.Verdict { return 42 }, 500, "failed", nil},
		{"panics", false, func(context.Context, *pluginserver.Event) pluginserver.Verdict {
			nilMap["x"] = 1
			return pluginserver.Continue
		}, 500, "failed", nil},
		{"panics with nil after a call", false, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			_, _ = e.Kong.Request.GetHeader("x")
			panic(nil)
		}, 500, "failed", []string{"kong.request.get_header"}},
		{"goes on after a call that cannot be encoded", false, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			if e.Kong.ServiceRequest.SetHeader("A", "\xff") == nil {
				return pluginserver.Continue
			}
			_ = e.Kong.ServiceRequest.SetHeader("B", "b")
			return pluginserver.Continue
		}, 0, "", []string{"kong.service.request.set_header B: b"}},
		{"ends on a call that cannot be encoded", false, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			_ = e.Kong.ServiceRequest.SetHeader("A", "\xff")
			return pluginserver.Continue
		}, 0, "", nil},
		{"a reply that cannot be decoded", false, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			if _, err := e.Kong.Request.GetHeader("bytes"); err == nil {
				return pluginserver.Undecided
			}
			_ = e.Kong.ServiceRequest.SetHeader("B", "b")
			return pluginserver.Continue
		}, 0, "", []string{"kong.request.get_header", "kong.service.request.set_header B: b"}},
		{"a reply over the limit", false, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			if _, err := e.Kong.Request.GetHeader("huge"); err == nil {
				return pluginserver.Undecided
			}
			_ = e.Kong.ServiceRequest.SetHeader("B", "b")
			return pluginserver.Continue
		}, 0, "", []string{"kong.request.get_header", "kong.service.request.set_header B: b"}},
		{"response: panics", true, func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			_, _ = e.Kong.Request.GetHeader("x")
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

func withoutLog(calls []string) []string {
	var rest []string
	for _, c := range calls {
		if !strings.HasPrefix(c, "kong.log.") {
			rest = append(rest, c)
		}
	}
	return rest
}

func checkExit(t *testing.T, result kongwire.Result, status int, body string) {
	t.Helper()
	switch {
	case status == 0 && result.Exit != nil:
		t.Fatalf("exit %d %q, want none", result.Exit.Status, result.Exit.Body)
	case status != 0 && (result.Exit == nil || result.Exit.Status != status || string(result.Exit.Body) != body):
		t.Fatalf("got %+v, want exit %d %q", result.Exit, status, body)
	}
}

func TestPanicIsLoggedWithItsStackAndToldToKong(t *testing.T) {
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
					_ = e.Kong.ServiceRequest.SetHeader("Late", "x")
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
		})
	}
}

func TestHandlerIsOverruledWhileKongAnswers(t *testing.T) {
	s := serve(t, pluginserver.Config{HandlerTimeout: 30 * time.Millisecond},
		handlerOf(func(ctx context.Context, e *pluginserver.Event) pluginserver.Verdict {
			_, _ = e.Kong.Request.GetHeader("x")
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
	// Another worker closes the instance.
	other := kongwire.NewClient(s.socket)
	defer other.Close()
	if err := other.CloseInstance(ctxFor(t), 7); err != nil {
		t.Fatal(err)
	}
	if _, err := other.HandleEvent(ctxFor(t), 7, "access", (&kong{}).answer); !errors.Is(err, kongwire.ErrClosed) {
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
	ctx := ctxFor(t)
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

func TestSameSequenceOfAnotherWorker(t *testing.T) {
	s := serve(t, pluginserver.Config{}, func(_ context.Context, config []byte) (pluginserver.Instance, error) {
		return stub{handle: func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
			_ = e.Kong.ServiceRequest.SetHeader("Config", string(config))
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
	first := open(`{"__seq__":7,"a":"one"}`)
	if again := open(`{"a":"one", "__seq__":7}`); first != 7 || again != 7 {
		t.Errorf("the same configuration got %d and %d, want 7 twice", first, again)
	}
	second := open(`{"__seq__":7,"a":"two"}`)
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
}

func TestDrainFinishesWhatRuns(t *testing.T) {
	running, release := make(chan struct{}), make(chan struct{})
	s := serve(t, pluginserver.Config{DrainIdle: 10 * time.Millisecond}, handlerOf(func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
		close(running)
		<-release
		if err := e.Kong.ServiceRequest.SetHeader("A", "a"); err != nil {
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

// An idle connection that brings an event while the server drains is still
// served, for as long as the event takes.
func TestDrainServesWhatHasJustBeenSent(t *testing.T) {
	const idle = 300 * time.Millisecond
	s := serve(t, pluginserver.Config{DrainIdle: idle}, handlerOf(func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
		if e.Kong.ServiceRequest.SetHeader("A", "a") != nil {
			return pluginserver.Undecided
		}
		return pluginserver.Continue
	}))
	client := kongwire.NewClient(s.socket)
	defer client.Close()
	id, err := client.StartInstance(ctxFor(t), "p", []byte(`{"__seq__":1}`))
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	for { // until the listener is closed
		conn, err := net.Dial("unix", s.socket)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	k := &kong{}
	result, err := client.HandleEvent(ctxFor(t), id, "access", func(method string, args []byte) (proto.Message, error) {
		<-time.After(idle + idle/2) // Kong is slow
		return k.answer(method, args)
	})
	if err != nil {
		t.Fatal(err)
	}
	checkExit(t, result, 0, "")
}

func TestManyConnectionsAtOnce(t *testing.T) {
	s := serve(t, pluginserver.Config{}, handlerOf(func(_ context.Context, e *pluginserver.Event) pluginserver.Verdict {
		v, err := e.Kong.Request.GetHeader("x")
		if err != nil || e.Kong.ServiceRequest.SetHeader("X", v) != nil {
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
