package pluginserver

import (
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

// wire is a connection to Kong as the PDK sees it: what is written is kept
// until the PDK reads the reply, so that a turn is one system call, and what
// Kong sends is read through a buffer.
//
// One goroutine reads and writes; end may be called from another.
type wire struct {
	conn  net.Conn
	limit int // the largest frame, in bytes

	in       []byte // in[from:to] has been received and not been used
	from, to int
	body     int // bytes of the current reply that the PDK has not read yet
	out      []byte

	mu    sync.Mutex // held while writing to conn
	ended bool       // nothing more is to be written
}

func newWire(conn net.Conn, limit int) *wire {
	return &wire{conn: conn, limit: limit, in: make([]byte, bufferSize), out: make([]byte, 0, bufferSize)}
}

// send writes what is pending, at once.
func (w *wire) send() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return errEnded
	}
	_, err := w.conn.Write(w.out)
	w.out = w.out[:0]
	return err
}

// end writes the last frames of this connection. Whatever the PDK has left
// unsent is dropped, and later writes fail: the first to end has the last word.
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

// next reads a whole frame. The bytes are valid until the next read.
func (w *wire) next() ([]byte, error) {
	if err := w.fill(headerSize); err != nil {
		return nil, err
	}
	size := w.frameSize()
	if size > w.limit {
		return nil, fmt.Errorf("%w: %d bytes", errFrameTooLarge, size)
	}
	w.from += headerSize
	if err := w.fill(size); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	frame := w.in[w.from : w.from+size]
	w.from += size
	return frame, nil
}

func (w *wire) frameSize() int {
	return int(binary.LittleEndian.Uint32(w.in[w.from:]))
}

// fill reads until n bytes are there. It returns io.EOF only when the
// connection ended before the first of them.
func (w *wire) fill(n int) error {
	w.makeRoom(n)
	for w.to-w.from < n {
		k, err := w.conn.Read(w.in[w.to:])
		w.to += k
		if err != nil && w.to-w.from < n {
			if errors.Is(err, io.EOF) && w.to > w.from {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

func (w *wire) makeRoom(n int) {
	if w.from == w.to {
		w.from, w.to = 0, 0
	}
	if w.from+n <= len(w.in) {
		return
	}
	in := w.in
	if n > len(in) {
		in = make([]byte, n)
	}
	w.to = copy(in, w.in[w.from:w.to])
	w.from, w.in = 0, in
}

// shrink gives back the memory of an unusually large frame. It is called
// between events, when no frame is in use.
func (w *wire) shrink() {
	if len(w.in) > 16*bufferSize && w.to-w.from <= bufferSize {
		in := make([]byte, bufferSize)
		w.to = copy(in, w.in[w.from:w.to])
		w.from, w.in = 0, in
	}
	if cap(w.out) > 16*bufferSize {
		w.out = make([]byte, 0, bufferSize)
	}
}

// pdkConn is the net.Conn that the PDK is given: it has the PDK's way of
// reading a reply, four bytes of length and then the rest.
type pdkConn struct {
	*wire
	net.Conn
}

// Write keeps p until the PDK reads.
func (c pdkConn) Write(p []byte) (int, error) {
	c.out = append(c.out, p...)
	return len(p), nil
}

// Read sends what the PDK has written, then reads of the reply.
func (c pdkConn) Read(p []byte) (int, error) {
	if len(c.out) > 0 {
		c.out = lastTwoFrames(c.out)
		if err := c.send(); err != nil {
			return 0, err
		}
	}
	if c.body == 0 {
		return c.readHeader(p)
	}
	if c.from == c.to {
		if err := c.fill(1); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.in[c.from:min(c.to, c.from+c.body)])
	c.from += n
	c.body -= n
	return n, nil
}

// ask sends what is pending, a whole call, and reads the reply. The bytes are
// valid until the next read. A reply over the limit is an error, and the
// connection stays in step; see readHeader.
func (w *wire) ask() ([]byte, error) {
	if err := w.send(); err != nil {
		return nil, err
	}
	if err := w.fill(headerSize); err != nil {
		return nil, err
	}
	size := w.frameSize()
	w.from += headerSize
	if size > w.limit {
		if err := w.skip(size); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: a reply of %d bytes", errFrameTooLarge, size)
	}
	if err := w.fill(size); err != nil {
		return nil, err
	}
	reply := w.in[w.from : w.from+size]
	w.from += size
	return reply, nil
}

// readHeader reads the length of a reply. A reply over the limit is skipped,
// so that the connection stays in step: to end it would make Kong run the event
// again, and get the same reply.
func (c pdkConn) readHeader(p []byte) (int, error) {
	if len(p) != headerSize {
		return 0, errors.New("read of a reply does not begin with its length")
	}
	if err := c.fill(headerSize); err != nil {
		return 0, err
	}
	size := c.frameSize()
	n := copy(p, c.in[c.from:c.from+headerSize])
	c.from += headerSize
	if size <= c.limit {
		c.body = size
		return n, nil
	}
	if err := c.skip(size); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("%w: a reply of %d bytes", errFrameTooLarge, size)
}

func (w *wire) skip(size int) error {
	for size > 0 {
		if err := w.fill(1); err != nil {
			return err
		}
		n := min(size, w.to-w.from)
		w.from += n
		size -= n
	}
	return nil
}

// Close is what the PDK does after an exit: the connection is over for it.
func (c pdkConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	return nil
}

// lastTwoFrames drops what a PDK call left behind that failed before it was
// sent: the call's method without its arguments.
func lastTwoFrames(out []byte) []byte {
	var starts [2]int
	for i := 0; i+headerSize <= len(out); {
		starts[0], starts[1] = starts[1], i
		i += headerSize + int(binary.LittleEndian.Uint32(out[i:]))
	}
	return out[starts[0]:]
}
