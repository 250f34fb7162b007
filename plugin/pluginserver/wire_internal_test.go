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
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }
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
			w.shrink()
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

// The PDK's reads of replies must survive whatever Kong sends.
func FuzzReplies(f *testing.F) {
	f.Add(frames("\x0a\x01x", ""), 1)
	f.Add(frames(string(make([]byte, 100))), 10)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1}, 3)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		conn := &scripted{in: data, piece: piece}
		w := newWire(conn, 60)
		kong := pdk.Init(pdkConn{wire: w, Conn: conn})
		for range 3 {
			_, _ = kong.Request.GetHeader("a")
			if w.body != 0 && len(conn.in) > 0 {
				t.Fatalf("%d bytes of a reply were left", w.body)
			}
			_ = kong.ServiceRequest.SetHeader("a", "b")
		}
	})
}

func TestATurnIsOneWrite(t *testing.T) {
	conn := &scripted{in: frames("\x0a\x01x", ""), piece: 3}
	w := newWire(conn, 1000)
	kong := pdk.Init(pdkConn{wire: w, Conn: conn})
	if v, err := kong.Request.GetHeader("a"); v != "x" || err != nil {
		t.Fatalf("got %q, %v", v, err)
	}
	if err := kong.ServiceRequest.SetHeader("a", "b"); err != nil {
		t.Fatal(err)
	}
	if len(conn.writes) != 2 {
		t.Errorf("%d writes for two calls: %q", len(conn.writes), conn.writes)
	}
}

func TestMemoryOfALargeFrameIsGivenBack(t *testing.T) {
	conn := &scripted{in: frames(string(make([]byte, 500_000)), "next"), piece: 100_000}
	w := newWire(conn, 1<<20)
	if _, err := w.next(); err != nil {
		t.Fatal(err)
	}
	w.shrink()
	if len(w.in) > 16*bufferSize {
		t.Errorf("%d bytes are kept", len(w.in))
	}
	if got, err := w.next(); err != nil || string(got) != "next" {
		t.Errorf("got %q, %v", got, err)
	}
}

// The calls made without the PDK must be those it makes, and read the same
// from whatever Kong answers.
func FuzzCalls(f *testing.F) {
	f.Add("authorization", "x", []byte("\x0a\x01x"), 3)
	f.Add("", "", []byte{}, 1)
	f.Add("\xff", "b", []byte("\x0a\x01\xff"), 9)
	f.Add("a", "\xff", []byte("\x10\x01\x0a\x01a\x0a\x01b"), 1)
	f.Add("a", strings.Repeat("x", 300), bytes.Repeat([]byte{10}, 61), 1)
	const limit = 60
	f.Fuzz(func(t *testing.T, name, value string, reply []byte, piece int) {
		one, two := &scripted{in: frames(string(reply), ""), piece: piece}, &scripted{in: frames(string(reply), ""), piece: piece}
		theirs := pdk.Init(pdkConn{wire: newWire(one, limit), Conn: one})
		ours := &Event{wire: newWire(two, limit)}

		want, wantErr := theirs.Request.GetHeader(name)
		got, err := ours.RequestHeader(name)
		if (err != nil) != (wantErr != nil) || err == nil && got != want {
			t.Fatalf("RequestHeader = %q, %v; the PDK's is %q, %v", got, err, want, wantErr)
		}
		wantErr = theirs.ServiceRequest.SetHeader(name, value)
		err = ours.SetServiceHeader(name, value)
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("SetServiceHeader = %v; the PDK's is %v", err, wantErr)
		}
		if sent, want := bytes.Join(two.writes, nil), bytes.Join(one.writes, nil); !bytes.Equal(sent, want) {
			t.Fatalf("sent %q, the PDK sends %q", sent, want)
		}
	})
}
