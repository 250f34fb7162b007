package pluginserver

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"

	"github.com/earlybird/earlybird/deploy/kongwire"
)

// setting is an instance that sets one header.
type setting struct{}

func (setting) Handle(_ context.Context, e *Event) Verdict {
	if e.SetServiceHeader("A", "a") != nil {
		return Undecided
	}
	return Continue
}

func (setting) Close() {}

// An idle connection that brings an event while the server drains is still
// served, for as long as the event takes. The connection is a pipe, whose writes
// end when they have been read: so the order of things is certain.
func TestDrainServesWhatHasJustBeenSent(t *testing.T) {
	t.Parallel()
	const idle = 2 * time.Second // a busy machine must begin the event within it
	start := func(context.Context, []byte) (Instance, error) { return setting{}, nil }
	s, err := New(t.Context(), Config{DrainIdle: idle, Plugin: Definition{
		Name: "p", Phase: "access", Fallback: ExitFallback(NewResponse(500, nil, nil)),
		New: func(context.Context, Process) (StartFunc, error) { return start, nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.instances.open(t.Context(), []byte(`{"__seq__":3}`))
	if err != nil {
		t.Fatal(err)
	}
	kong, plugin := net.Pipe()
	_ = kong.SetDeadline(time.Now().Add(30 * time.Second)) // a pipe can
	c, done := newConn(t.Context(), s, plugin), make(chan struct{})
	go func() {
		defer close(done)
		c.serve()
	}()
	call, err := proto.Marshal(&kong_plugin_protocol.RpcCall{Sequence: 1, Call: &kong_plugin_protocol.RpcCall_CmdHandleEvent{
		CmdHandleEvent: &kong_plugin_protocol.CmdHandleEvent{InstanceId: r.id, EventName: "access"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kong.Close(); <-done }()
	frame := appendFrame(nil, call)
	send := func(part []byte) {
		t.Helper()
		if _, err := kong.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	receive := func(want string) {
		t.Helper()
		if got, err := kongwire.ReadFrame(kong); err != nil || string(got) != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
	send(frame[:headerSize])
	c.drain()
	send(frame[headerSize:])
	receive("kong.service.request.set_header")
	receive("\x0a\x01A\x12\x03\x1a\x01a")
	<-time.After(idle + idle/4) // Kong is slow
	send(frames(""))
	receive("")
	receive("\x08\x01")
}
