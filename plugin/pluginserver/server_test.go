package pluginserver_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/deploy/testserver"
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
	log    *testserver.Output

	metrics *prometheus.Registry
}

// counted is what a counter of the server says.
func (s served) counted(t *testing.T, name string) float64 {
	t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func serve(t testing.TB, config pluginserver.Config, start pluginserver.StartFunc) served {
	t.Helper()
	if config.Plugin.Phase == "" {
		config.Plugin = accessPlugin()
	}
	config.Plugin.New = func(context.Context, pluginserver.Process) (pluginserver.StartFunc, error) { return start, nil }
	log := &testserver.Output{}
	config.Process.Log = slog.New(slog.NewJSONHandler(log, nil))
	metrics := prometheus.NewRegistry()
	config.Process.Metrics = metrics
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
	return served{socket: socket, stop: stop, done: result, log: log, metrics: metrics}
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
