package pluginserver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/Kong/go-pdk"

	"github.com/earlybird/earlybird/deploy/kongwire"
)

// scripted is a connection that brings fixed bytes in pieces, and notes each
// write.
type scripted struct {
	net.Conn
	in     []byte
	piece  int
	writes [][]byte
	late   chan struct{} // closed when a time for writes is set; may be nil
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.in[:min(len(s.in), max(s.piece, 1))])
	s.in = s.in[n:]
	return n, nil
}

func (s *scripted) Write(p []byte) (int, error) {
	s.writes = append(s.writes, bytes.Clone(p))
	return len(p), nil
}

func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { close(s.late); return nil }
func (s *scripted) Close() error                     { return nil }

func frames(contents ...string) []byte {
	var out []byte
	for _, c := range contents {
		out = appendFrame(out, []byte(c))
	}
	return out
}

// The frame reader must find the same frames as the plain one, however the
// bytes arrive.
func FuzzFrames(f *testing.F) {
	f.Add(frames("a", "", "bcd"), 1)
	f.Add(frames(string(make([]byte, 100)), "x"), 4096)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1}, 3)
	f.Add([]byte{5, 0, 0, 0, 1, 2}, 2)
	f.Add([]byte{1, 0}, 1)
	const limit = 60
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		w := newWire(&scripted{in: data, piece: piece}, limit)
		reference := bytes.NewReader(data)
		for {
			got, err := w.next()
			if rest := data[len(data)-reference.Len():]; len(rest) >= headerSize && binary.LittleEndian.Uint32(rest) > limit {
				if !errors.Is(err, errFrameTooLarge) {
					t.Fatalf("a frame over the limit: %v", err)
				}
				return
			}
			want, wantErr := kongwire.ReadFrame(reference)
			if (err != nil) != (wantErr != nil) {
				t.Fatalf("got %v, want %v", err, wantErr)
			}
			if errors.Is(wantErr, io.EOF) != errors.Is(err, io.EOF) {
				t.Fatalf("got %v, want %v", err, wantErr)
			}
			if err != nil {
				return
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("got %d bytes, want %d", len(got), len(want))
			}
		}
	})
}

func TestFramesAroundTheBuffersSize(t *testing.T) {
	var sizes []int
	for d := -6; d <= 6; d++ {
		sizes = append(sizes, bufferSize+d, 3, 2*bufferSize+d, 0)
	}
	for _, piece := range []int{1, 3, 1000, bufferSize, 1 << 20} {
		var data []byte
		for i, size := range sizes {
			data = appendFrame(data, bytes.Repeat([]byte{byte(i)}, size))
		}
		w := newWire(&scripted{in: data, piece: piece}, 1<<20)
		for i, size := range sizes {
			got, err := w.next()
			if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, size)) {
				t.Fatalf("pieces of %d, frame %d: %d bytes, %v; want %d", piece, i, len(got), err, size)
			}
		}
	}
}

// Reading replies must survive whatever Kong sends.
func FuzzReplies(f *testing.F) {
	f.Add(frames("\x0a\x01x", ""), 1)
	f.Add(frames(string(make([]byte, 100))), 10)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1}, 3)
	f.Fuzz(func(_ *testing.T, data []byte, piece int) {
		e := &Event{wire: newWire(&scripted{in: data, piece: piece}, 60)}
		for range 3 {
			_, _ = e.RequestHeader("a")
			_ = e.SetServiceHeader("a", "b")
		}
	})
}

func TestATurnIsOneWrite(t *testing.T) {
	conn := &scripted{in: frames("\x0a\x01x", ""), piece: 3}
	e := &Event{wire: newWire(conn, 1000)}
	if v, err := e.RequestHeader("a"); v != "x" || err != nil {
		t.Fatalf("got %q, %v", v, err)
	}
	if err := e.SetServiceHeader("a", "b"); err != nil {
		t.Fatal(err)
	}
	if len(conn.writes) != 2 {
		t.Errorf("%d writes for two calls: %q", len(conn.writes), conn.writes)
	}
}

// A reply over the limit leaves the connection in step.
func TestReplyOverTheLimit(t *testing.T) {
	conn := &scripted{in: frames(string(make([]byte, 3*bufferSize)), "\x0a\x01x"), piece: 1000}
	e := &Event{wire: newWire(conn, bufferSize)}
	if _, err := e.RequestHeader("a"); !errors.Is(err, errFrameTooLarge) {
		t.Errorf("got %v, want it refused", err)
	}
	if v, err := e.RequestHeader("a"); v != "x" || err != nil {
		t.Errorf("the next call got %q, %v", v, err)
	}
}

// The calls must be those that go-pdk makes, and read the same from whatever Kong
// answers.
func FuzzCalls(f *testing.F) {
	f.Add("authorization", "x", []byte("\x0a\x01x"), 3)
	f.Add("", "", []byte{}, 1)
	f.Add("\xff", "b", []byte("\x0a\x01\xff"), 9)
	f.Add("a", "\xff", []byte("\x10\x01\x0a\x01a\x0a\x01b"), 1)
	f.Add("a", strings.Repeat("x", 300), bytes.Repeat([]byte{10}, 61), 1)
	f.Fuzz(func(t *testing.T, name, value string, reply []byte, piece int) {
		for call, c := range map[string]struct {
			theirs, ours func(pdk *pdk.PDK, e *Event) (any, error)
		}{
			"request header": {
				func(k *pdk.PDK, _ *Event) (any, error) { return k.Request.GetHeader(name) },
				func(_ *pdk.PDK, e *Event) (any, error) { return e.RequestHeader(name) },
			},
			"set service header": {
				func(k *pdk.PDK, _ *Event) (any, error) { return nil, k.ServiceRequest.SetHeader(name, value) },
				func(_ *pdk.PDK, e *Event) (any, error) { return nil, e.SetServiceHeader(name, value) },
			},
			"service status": {
				func(k *pdk.PDK, _ *Event) (any, error) { return k.ServiceResponse.GetStatus() },
				func(_ *pdk.PDK, e *Event) (any, error) { return e.ServiceStatus() },
			},
			"service header": {
				func(k *pdk.PDK, _ *Event) (any, error) { return k.ServiceResponse.GetHeader(name) },
				func(_ *pdk.PDK, e *Event) (any, error) { return e.ServiceHeader(name) },
			},
			"service body": {
				func(k *pdk.PDK, _ *Event) (any, error) {
					body, err := k.ServiceResponse.GetRawBody()
					return string(body), err
				},
				func(_ *pdk.PDK, e *Event) (any, error) {
					body, err := e.ServiceBody()
					return string(body), err
				},
			},
			"set header": {
				func(k *pdk.PDK, _ *Event) (any, error) { return nil, k.Response.SetHeader(name, value) },
				func(_ *pdk.PDK, e *Event) (any, error) { return nil, e.SetHeader(name, value) },
			},
			"log": {
				func(k *pdk.PDK, _ *Event) (any, error) { return nil, k.Log.Warn(value) },
				func(_ *pdk.PDK, e *Event) (any, error) { return nil, e.log("warn", value) },
			},
		} {
			one, two := &scripted{in: frames(string(reply)), piece: piece}, &scripted{in: frames(string(reply)), piece: piece}
			want, wantErr := c.theirs(pdk.Init(one), nil)
			got, err := c.ours(nil, &Event{wire: newWire(two, 1<<20)})
			if (err != nil) != (wantErr != nil) || err == nil && got != want {
				t.Fatalf("%s = %q, %v; the PDK's is %q, %v", call, got, err, want, wantErr)
			}
			if sent, want := bytes.Join(two.writes, nil), bytes.Join(one.writes, nil); len(sent) > 0 && !bytes.Equal(sent, want) {
				t.Fatalf("%s sent %q, the PDK sends %q", call, sent, want)
			}
		}
	})
}
