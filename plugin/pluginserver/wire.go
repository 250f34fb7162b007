package pluginserver

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

const (
	headerSize = 4 // a frame is a little-endian length, then that many bytes
	bufferSize = 4 << 10
)

var (
	errFrameTooLarge = errors.New("frame is larger than the limit")
	errEnded         = errors.New("the event has ended")
	errExited        = errors.New("the client has been answered")
)

// wire is a connection to Kong. A call is written with one system call, and what
// Kong sends is read through a buffer.
//
// One goroutine reads and writes; end may be called from another.
type wire struct {
	conn  net.Conn
	in    *bufio.Reader
	limit int    // the largest frame, in bytes
	out   []byte // what send writes

	mu    sync.Mutex // held while writing to conn
	ended bool       // nothing more is to be written
}

func newWire(conn net.Conn, limit int) *wire {
	return &wire{conn: conn, in: bufio.NewReaderSize(conn, bufferSize), limit: limit}
}

// send writes what is pending, at once.
func (w *wire) send() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return errEnded
	}
	_, err := w.conn.Write(w.out)
	if cap(w.out) > 16*bufferSize {
		w.out = nil // the memory of an unusually large frame is given back
	}
	return err
}

// end writes the last frames of this connection. Later writes fail: the first to
// end has the last word.
func (w *wire) end(frames []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return errEnded
	}
	w.ended = true
	_, err := w.conn.Write(frames)
	return err
}

// next reads a whole frame. The bytes are valid until the next read. It returns
// io.EOF only when the connection ended before the first of them.
func (w *wire) next() ([]byte, error) {
	head, err := w.in.Peek(headerSize)
	if err != nil {
		if errors.Is(err, io.EOF) && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	size := int(binary.LittleEndian.Uint32(head))
	if size > w.limit {
		return nil, fmt.Errorf("%w: %d bytes", errFrameTooLarge, size)
	}
	_, _ = w.in.Discard(headerSize) // it is in the buffer
	var frame []byte
	if size <= w.in.Size() {
		frame, err = w.in.Peek(size)
		_, _ = w.in.Discard(len(frame)) // so is this
	} else {
		frame = make([]byte, size)
		_, err = io.ReadFull(w.in, frame)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return frame, err
}

// ask sends what is pending, a whole call, and reads the reply. The bytes are
// valid until the next read. A reply over the limit is skipped, so that the
// connection stays in step: to end it would make Kong run the event again, and get
// the same reply.
func (w *wire) ask() ([]byte, error) {
	if err := w.send(); err != nil {
		return nil, err
	}
	reply, err := w.next()
	if errors.Is(err, errFrameTooLarge) {
		head, _ := w.in.Peek(headerSize) // next has seen it
		_, skipped := w.in.Discard(headerSize + int(binary.LittleEndian.Uint32(head)))
		err = errors.Join(err, skipped)
	}
	return reply, err
}
