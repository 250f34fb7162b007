package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
)

// BenchmarkWarm is a request with a token that is remembered, over the socket,
// one at a time. The benchmark's own side allocates nothing, so the
// allocations are the plugin's.
func BenchmarkWarm(b *testing.B) {
	d := warm(b)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		d.request(b)
	}
}

// An accepted request allocates the messages of two calls and nothing else. What
// follows Redis meanwhile allocates too, a few times a second: of many short
// measurements it misses some. Checked by making one of the two calls through the
// PDK.
func TestWarmRequestAllocatesLittle(t *testing.T) {
	const most = 11
	d := warm(t)
	n := float64(most + 1)
	for try := 0; try < 100 && n > most; try++ {
		n = testing.AllocsPerRun(100, func() { d.request(t) })
	}
	if n > most {
		t.Errorf("%v allocations a request, want %d", n, most)
	}
}

// warm is a driver whose token is remembered.
func warm(b testing.TB) *driver {
	b.Helper()
	bench := newBench(b)
	bench.campaign.Start(b, 10)
	raw, _ := bench.identity.Token(b, "u")
	bench.campaign.Placed(b, "u")
	d := newDriver(b, bench.kong.Socket, bench.kong.Start(b, bench.config), raw)
	d.request(b)
	bench.campaign.Stop() // an identity at work allocates
	bench.revoked.Stop()
	return d
}

// driver plays Kong's part of accepted requests, with messages made beforehand.
type driver struct {
	conn        net.Conn
	reader      *bufio.Reader
	call, token []byte
}

func newDriver(b testing.TB, socket string, instance int32, raw string) *driver {
	b.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	d := &driver{conn: conn, reader: bufio.NewReader(conn)}
	d.call = frame(b, &kong_plugin_protocol.RpcCall{Sequence: 1, Call: &kong_plugin_protocol.RpcCall_CmdHandleEvent{
		CmdHandleEvent: &kong_plugin_protocol.CmdHandleEvent{InstanceId: instance, EventName: "access"},
	}})
	d.token = frame(b, &kong_plugin_protocol.String{V: "Bearer " + raw})
	return d
}

func frame(b testing.TB, m proto.Message) []byte {
	b.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(data))), data...)
}

var (
	getHeader = []byte("kong.request.get_header")
	setHeader = []byte("kong.service.request.set_header")
	nothing   = []byte{0, 0, 0, 0}
)

func (d *driver) request(b testing.TB) {
	d.write(b, d.call)
	d.expect(b, getHeader)
	d.expect(b, nil)
	d.write(b, d.token)
	d.expect(b, setHeader)
	d.expect(b, nil)
	d.write(b, nothing)
	d.expect(b, []byte{})
	d.expect(b, nil)
}

// write writes a frame as Kong does: its length, then the rest.
func (d *driver) write(b testing.TB, frame []byte) {
	_, err1 := d.conn.Write(frame[:4])
	_, err2 := d.conn.Write(frame[4:])
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
}

// expect reads a frame, which must be as wanted unless nil.
func (d *driver) expect(b testing.TB, want []byte) {
	head, err := d.reader.Peek(4)
	if err != nil {
		b.Fatal(err)
	}
	size := int(binary.LittleEndian.Uint32(head))
	body, err := d.reader.Peek(4 + size)
	if err != nil && err != io.EOF {
		b.Fatal(err)
	}
	if want != nil && !bytes.Equal(body[4:], want) {
		b.Fatalf("got %q, want %q", body[4:], want)
	}
	if _, err := d.reader.Discard(4 + size); err != nil {
		b.Fatal(err)
	}
}
