package gateway_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/earlybird/earlybird/deploy/kongwire"
	"github.com/earlybird/earlybird/deploy/local/gateway"
	"github.com/earlybird/earlybird/plugin/schema"
)

// fakePlugin is a plugin program in this process: it speaks Kong's protocol on
// a socket and lets the test decide what happens in an event.
type fakePlugin struct {
	name     string
	phase    string
	priority int
	event    func(k *kongCalls)

	mu      sync.Mutex
	configs []map[string]any // of the instances that were started
}

// kongCalls are the calls a plugin makes to Kong during an event.
type kongCalls struct {
	t      testing.TB
	conn   net.Conn
	phase  string
	ended  bool // exited or broken off: nothing may follow
	number int  // of this event at the plugin, from 1
}

// fakeFields are the fakes' configuration.
var fakeFields = []schema.Field{
	{Name: "word", Spec: schema.Spec{Type: "string", Required: true, Description: "Any word, for the tests to see."}},
	{Name: "secret", Spec: schema.Spec{Type: "string", Referenceable: true, Description: "What may be a reference to a vault."}},
	{Name: "level", Spec: schema.Spec{Type: "integer", Required: true, Default: 5, Between: []int64{0, 60}, Description: "A number with a default."}},
}

func (p *fakePlugin) serve(t testing.TB) gateway.External {
	t.Helper()
	folder, err := os.MkdirTemp("", "gw") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	socket := filepath.Join(folder, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	plugin := kongwire.NewPlugin(kongwire.Config{Name: p.name, Socket: socket})
	var running sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); plugin.Close(); running.Wait() })
	var events int
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				for p.call(t, conn, &events) {
				}
			})
		}
	})
	return gateway.External{
		Info: kongwire.PluginInfo{
			Name: p.name, Phases: []string{p.phase}, Version: "1", Priority: p.priority, Schema: schema.Of(p.name, fakeFields...),
		},
		Plugin: plugin,
	}
}

// call answers one call of Kong's and reports whether the connection goes on.
func (p *fakePlugin) call(t testing.TB, conn net.Conn, events *int) bool {
	frame, err := kongwire.ReadFrame(conn)
	if err != nil {
		return false
	}
	var call kong_plugin_protocol.RpcCall
	if err := proto.Unmarshal(frame, &call); err != nil {
		t.Errorf("call: %v", err)
		return false
	}
	answer := &kong_plugin_protocol.RpcReturn{Sequence: call.GetSequence()}
	switch {
	case call.GetCmdStartInstance() != nil:
		var config map[string]any
		if err := json.Unmarshal(call.GetCmdStartInstance().GetConfig(), &config); err != nil {
			t.Errorf("config: %v", err)
		}
		p.mu.Lock()
		p.configs = append(p.configs, config)
		p.mu.Unlock()
		answer.Return = &kong_plugin_protocol.RpcReturn_InstanceStatus{InstanceStatus: &kong_plugin_protocol.InstanceStatus{InstanceId: 1}}
	case call.GetCmdHandleEvent() != nil:
		p.mu.Lock()
		*events++
		k := &kongCalls{t: t, conn: conn, phase: call.GetCmdHandleEvent().GetEventName(), number: *events}
		p.mu.Unlock()
		p.event(k)
		if k.ended {
			return false
		}
		_ = kongwire.WriteFrame(conn, nil)
	}
	encoded, err := proto.Marshal(answer)
	if err != nil {
		t.Errorf("answer: %v", err)
	}
	return kongwire.WriteFrame(conn, encoded) == nil
}

// ask makes one PDK call; out may be nil.
func (k *kongCalls) ask(method string, args, out proto.Message) {
	var encoded []byte
	if args != nil {
		encoded, _ = proto.Marshal(args)
	}
	_ = kongwire.WriteFrame(k.conn, []byte(method))
	if err := kongwire.WriteFrame(k.conn, encoded); err != nil || k.ended {
		return
	}
	reply, err := kongwire.ReadFrame(k.conn)
	if err != nil {
		k.ended = true // Kong broke the event off
		return
	}
	if out != nil {
		if err := proto.Unmarshal(reply, out); err != nil {
			k.t.Errorf("reply to %s: %v", method, err)
		}
	}
}

func (k *kongCalls) getHeader(name string) string {
	var s kong_plugin_protocol.String
	k.ask("kong.request.get_header", &kong_plugin_protocol.String{V: name}, &s)
	return s.GetV()
}

func (k *kongCalls) setUpstream(name, value string) {
	k.ask("kong.service.request.set_header", &kong_plugin_protocol.KV{K: name, V: structpb.NewStringValue(value)}, nil)
}

func (k *kongCalls) setDownstream(name, value string) {
	k.ask("kong.response.set_header", &kong_plugin_protocol.KV{K: name, V: structpb.NewStringValue(value)}, nil)
}

func (k *kongCalls) exit(status int32, body string) {
	k.ended = true
	headers, _ := structpb.NewStruct(map[string]any{"Content-Type": "text/x-plugin"})
	k.ask("kong.response.exit", &kong_plugin_protocol.ExitArgs{Status: status, Body: []byte(body), Headers: headers}, nil)
}
