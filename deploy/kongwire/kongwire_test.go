package kongwire_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"

	"github.com/earlybird/earlybird/deploy/kongwire"
)

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	for _, want := range []string{"", "a", strings.Repeat("b", 70_000)} {
		if err := kongwire.WriteFrame(&b, []byte(want)); err != nil {
			t.Fatal(err)
		}
		got, err := kongwire.ReadFrame(&b)
		if err != nil || string(got) != want {
			t.Fatalf("got %d bytes, %v; want %d", len(got), err, len(want))
		}
	}
	tests := []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, io.EOF},
		{"half a length", []byte{1, 0}, io.ErrUnexpectedEOF},
		{"a length alone", []byte{1, 0, 0, 0}, io.ErrUnexpectedEOF},
		{"half a body", []byte{2, 0, 0, 0, 1}, io.ErrUnexpectedEOF},
		{"too large", []byte{0xff, 0xff, 0xff, 0xff}, kongwire.ErrFrameTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := kongwire.ReadFrame(bytes.NewReader(tt.data)); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestParseDump(t *testing.T) {
	const good = `{"Protocol":"ProtoBuf:1","SocketPath":"/s","Plugins":[{"Name":"p","Phases":["access"],"Priority":1,"Version":"1","Schema":{"name":"p","fields":[]}}]}`
	if d, err := kongwire.ParseDump([]byte(good)); err != nil || d.Plugins[0].Name != "p" {
		t.Fatalf("got %+v, %v", d, err)
	}
	for name, bad := range map[string]string{
		"not JSON":   "Usage of p:",
		"protocol":   strings.Replace(good, "ProtoBuf:1", "MsgPack:1", 1),
		"no socket":  strings.Replace(good, `"/s"`, `""`, 1),
		"no plugin":  `{"Protocol":"ProtoBuf:1","SocketPath":"/s","Plugins":[]}`,
		"no phase":   strings.Replace(good, `["access"]`, `[]`, 1),
		"odd schema": strings.Replace(good, `"fields":[]`, `"fields":[{"a":{},"b":{}}]`, 1),
	} {
		if _, err := kongwire.ParseDump([]byte(bad)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// plugin answers each connection with one of the functions in turn.
// ended counts the connections that it has closed.
func plugin(t *testing.T, serve ...func(conn net.Conn)) (socket string, ended *atomic.Int64) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "p.socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ended = &atomic.Int64{}
	done := make(chan struct{})
	t.Cleanup(func() { _ = listener.Close(); <-done })
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serve[min(i, len(serve)-1)](conn)
			_ = conn.Close()
			ended.Add(1)
		}
	}()
	return socket, ended
}

// answer reads a call and returns an instance of this number.
func answer(conn net.Conn, instance int32) {
	frame, err := kongwire.ReadFrame(conn)
	if err != nil {
		return
	}
	var call kong_plugin_protocol.RpcCall
	_ = proto.Unmarshal(frame, &call)
	encoded, _ := proto.Marshal(&kong_plugin_protocol.RpcReturn{Sequence: call.GetSequence(), Return: &kong_plugin_protocol.RpcReturn_InstanceStatus{
		InstanceStatus: &kong_plugin_protocol.InstanceStatus{InstanceId: instance},
	}})
	_ = kongwire.WriteFrame(conn, encoded)
}

func TestClosedConnectionIsNotReused(t *testing.T) {
	socket, ended := plugin(t, func(conn net.Conn) { answer(conn, 7) })
	client := kongwire.NewClient(socket)
	defer client.Close()
	for i := range int64(3) {
		if id, err := client.StartInstance(t.Context(), "p", nil); err != nil || id != 7 {
			t.Fatalf("got %d, %v", id, err)
		}
		for ended.Load() <= i { // the plugin closes by itself
			runtime.Gosched()
		}
	}
}

func TestEventIsRunAgainWhenTheConnectionCloses(t *testing.T) {
	event := func(conn net.Conn) {
		frame, _ := kongwire.ReadFrame(conn)
		var call kong_plugin_protocol.RpcCall
		_ = proto.Unmarshal(frame, &call)
		_ = kongwire.WriteFrame(conn, nil)
		encoded, _ := proto.Marshal(&kong_plugin_protocol.RpcReturn{Sequence: call.GetSequence()})
		_ = kongwire.WriteFrame(conn, encoded)
	}
	first := func(conn net.Conn) { answer(conn, 1); _, _ = kongwire.ReadFrame(conn) } // closes on the event
	second := func(conn net.Conn) { answer(conn, 2); event(conn) }
	socket, _ := plugin(t, first, second)
	p := kongwire.NewPlugin(kongwire.Config{Name: "p", Socket: socket})
	defer p.Close()
	result, err := p.Handle(t.Context(), kongwire.Event{PluginID: "a", Sequence: 1, Phase: "access"})
	if err != nil || result.Exit != nil {
		t.Errorf("got %+v, %v", result, err)
	}
}

// A plugin that is killed with something unread resets the connection. Kong
// looks for "closed" in the error and finds "connection reset by peer": it
// answers 500 and runs nothing again.
func TestEventIsNotRunAgainWhenTheConnectionIsReset(t *testing.T) {
	var events atomic.Int64
	serve := func(conn net.Conn) {
		answer(conn, 1)
		events.Add(1)
		_, _ = conn.Read(make([]byte, 1)) // and leaves the rest of the event unread
	}
	socket, _ := plugin(t, serve)
	p := kongwire.NewPlugin(kongwire.Config{Name: "p", Socket: socket})
	defer p.Close()
	_, err := p.Handle(t.Context(), kongwire.Event{PluginID: "a", Sequence: 1, Phase: "access"})
	if err == nil || errors.Is(err, kongwire.ErrClosed) {
		t.Errorf("got %v, want an error that is not run again", err)
	}
	if events.Load() != 1 {
		t.Errorf("%d events, want 1", events.Load())
	}
}

func TestWrongAnswersAreErrors(t *testing.T) {
	tests := map[string]func(conn net.Conn){
		"another sequence": func(conn net.Conn) {
			_, _ = kongwire.ReadFrame(conn)
			encoded, _ := proto.Marshal(&kong_plugin_protocol.RpcReturn{Sequence: 99})
			_ = kongwire.WriteFrame(conn, encoded)
		},
		"garbage": func(conn net.Conn) {
			_, _ = kongwire.ReadFrame(conn)
			_ = kongwire.WriteFrame(conn, []byte{0xff})
		},
		"the end": func(conn net.Conn) { _, _ = kongwire.ReadFrame(conn) },
	}
	for name, serve := range tests {
		t.Run(name, func(t *testing.T) {
			socket, _ := plugin(t, serve)
			client := kongwire.NewClient(socket)
			defer client.Close()
			_, err := client.StartInstance(t.Context(), "p", nil)
			if err == nil || errors.Is(err, kongwire.ErrClosed) != (name == "the end") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	p := kongwire.NewPlugin(kongwire.Config{Name: "p", Socket: filepath.Join(t.TempDir(), "none")})
	if _, err := p.Handle(t.Context(), kongwire.Event{PluginID: "a", Phase: "access"}); err == nil || errors.Is(err, kongwire.ErrClosed) {
		t.Errorf("got %v, want an error that is not run again", err)
	}
}
