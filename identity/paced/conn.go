package paced

import (
	"errors"
	"net"
	"sync/atomic"
)

// conn is a connection whose first bytes were read already. As with any stream,
// one reads at a time.
//
// It has no ReadFrom, which net/http would use to send files without reading
// them: nothing here sends files.
type conn struct {
	net.Conn
	listener   *Listener
	head       []byte      // what was read first, and not yet by the server
	placed     atomic.Bool // has one of the places
	unanswered atomic.Bool // counts among the listener's
}

// Read returns what was read first. Whoever reads again has looked at that: the
// server wants more of the request than came, or the next one, or watches while
// a handler runs whether the client goes away. Then the place is free.
func (c *conn) Read(b []byte) (int, error) {
	if len(c.head) == 0 {
		c.leave()
		return c.Conn.Read(b)
	}
	n := copy(b, c.head)
	if c.head = c.head[n:]; len(c.head) == 0 {
		c.head = nil // so that its memory is free
	}
	return n, nil
}

// Write begins an answer at the latest.
func (c *conn) Write(b []byte) (int, error) {
	c.answered()
	return c.Conn.Write(b)
}

// Close gives up the place, if Read did not.
func (c *conn) Close() error {
	c.leave()
	c.answered()
	return c.Conn.Close()
}

// CloseWrite is what net/http calls so that a client sees an answer before the
// connection is reset. It returns errors.ErrUnsupported if the inner connection
// has no such method.
func (c *conn) CloseWrite() error {
	if inner, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return inner.CloseWrite()
	}
	return errors.ErrUnsupported
}

// leave frees the place, once.
func (c *conn) leave() {
	if c.placed.CompareAndSwap(true, false) {
		<-c.listener.places
	}
}

// answered tells Drain, once, that nothing of this connection can be lost.
func (c *conn) answered() {
	if c.unanswered.CompareAndSwap(true, false) {
		c.listener.unanswered.Add(-1)
	}
}
