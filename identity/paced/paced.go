// Package paced takes connections in at the pace at which an HTTP server can
// look at their first requests.
//
// net/http gives every new connection buffers and a stack that grows, so that
// thousands that come in one moment cost much memory before the first of them
// is answered. Here each waits with 1 KiB and a small stack, and those who ask
// for the health of the service need not wait behind them.
//
// It is for connections in the clear. With TLS, First could not read what was
// sent, and net/http would not see the *tls.Conn that it looks for.
package paced

import (
	"cmp"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	headSize = 512 // of what a connection sends first, read while it waits

	defaultAtOnce    = 64
	defaultPatience  = 500 * time.Millisecond
	defaultFirstByte = 5 * time.Second

	// lastChance is how long a connection that was accepted just before Drain
	// has to send something, and one that is kept open to send its next request.
	lastChance = 100 * time.Millisecond
	// lookAgain is how often Drain looks whether it is done, and nextInQueue how
	// long it waits for the kernel to bring it one more connection.
	lookAgain   = 5 * time.Millisecond
	nextInQueue = time.Millisecond
)

// Config configures a Listener. What is zero or less has its default.
type Config struct {
	// AtOnce is how many connections may be in their first request at once: 64.
	AtOnce int
	// Patience is how long a connection that has sent something waits for its
	// turn; then it goes on without: 500 ms. Clients that stall on purpose delay
	// others by no more than that.
	Patience time.Duration
	// FirstByte is the time within which a connection must send something; then
	// it is closed: 5 s.
	FirstByte time.Duration
	// First reports whether a connection goes before its turn, by what it has
	// sent so far, at most 512 bytes. It must not keep head. nil: none does.
	First func(head []byte) bool
}

// Listener hands over connections that have sent something, so many at once.
// It is safe for concurrent use.
type Listener struct {
	inner      net.Listener
	closeInner func() error
	patience   time.Duration
	firstByte  time.Duration
	first      func(head []byte) bool

	places chan struct{} // taken by connections in their first request
	ready  chan net.Conn // to Accept
	before chan net.Conn // to Accept, which takes these first
	failed chan error    // to Accept
	ended  chan struct{} // closed when the goroutine that accepts has ended
	stop   func()        // closes stopped
	close  func()        // closes closed
	drain  func()        // stops accepting

	stopped    chan struct{} // when nothing more is accepted, but by Drain
	closed     chan struct{} // when nothing more is handed over
	unanswered atomic.Int64  // connections accepted, neither answered nor closed

	mu     sync.Mutex
	silent map[*conn]struct{} // have not sent anything yet
}

// Listen begins to accept from inner, which it owns from now on, until Drain or
// Close.
func Listen(inner net.Listener, c Config) *Listener {
	l := &Listener{
		inner: inner, closeInner: sync.OnceValue(inner.Close),
		patience:  cmp.Or(max(c.Patience, 0), defaultPatience),
		firstByte: cmp.Or(max(c.FirstByte, 0), defaultFirstByte),
		first:     c.First,
		places:    make(chan struct{}, cmp.Or(max(c.AtOnce, 0), defaultAtOnce)),
		ready:     make(chan net.Conn), before: make(chan net.Conn), failed: make(chan error),
		ended: make(chan struct{}), stopped: make(chan struct{}), closed: make(chan struct{}),
		silent: make(map[*conn]struct{}),
	}
	l.stop = sync.OnceFunc(func() { close(l.stopped) })
	l.close = sync.OnceFunc(func() { close(l.closed) })
	l.drain = sync.OnceFunc(l.finish)
	go l.acceptAll()
	return l
}

// Addr is the address of the inner listener.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Accept waits for the next connection that has sent something and whose turn
// it is. It returns the errors of the inner listener as they are, each once,
// and net.ErrClosed after Close.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.before:
		return c, nil
	default:
	}
	select {
	case c := <-l.before:
		return c, nil
	case c := <-l.ready:
		return c, nil
	case err := <-l.failed:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and closes the connections that it has not returned. It
// waits for nothing, and returns the error of closing the inner listener, however
// often it is called.
func (l *Listener) Close() error {
	l.stop()
	l.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.silent {
		_ = c.Conn.Close() // wakes receive, which does the rest
	}
	return l.closeInner()
}

// Drain stops accepting and waits until every connection that has sent something
// was returned by Accept and has had the beginning of an answer, or was closed;
// at most until ctx ends or Close is called. A connection that has sent nothing
// has another 100 ms for it. So do those that were answered and are kept open:
// many a client sends its next request when it has the answer to the last one, and
// if that asked it to close the connection, nothing is on its way there when the
// server does. Accept goes on, and waits for Close.
//
// To be called before http.Server.Shutdown, which closes the listener, and
// drops requests that the server has not read to the end of their headers.
// A client whose connection is established in the very moment in which the inner
// listener closes is reset by the kernel.
func (l *Listener) Drain(ctx context.Context) {
	l.drain()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for kept := time.Now().Add(lastChance); l.unanswered.Load() > 0 || time.Now().Before(kept); {
		select {
		case <-tick.C:
		case <-l.closed:
			return
		case <-ctx.Done():
			return
		}
	}
}

// finish closes the inner listener, and limits how long connections may stay
// silent.
func (l *Listener) finish() {
	l.stop()
	l.sweep()
	_ = l.closeInner() // Close returns its error
	<-l.ended
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.silent {
		_ = c.SetReadDeadline(time.Now().Add(lastChance))
	}
}

// sweep takes what the kernel has established already, and would reset when the
// inner listener closes.
func (l *Listener) sweep() {
	inner, ok := l.inner.(interface{ SetDeadline(t time.Time) error })
	if !ok || inner.SetDeadline(time.Unix(1, 0)) != nil {
		return
	}
	<-l.ended // by the deadline
	for until := time.Now().Add(lastChance); time.Now().Before(until); {
		_ = inner.SetDeadline(time.Now().Add(nextInQueue))
		c, err := l.inner.Accept()
		if err != nil {
			return
		}
		l.take(c)
	}
}

// acceptAll accepts as fast as it can. After an error it goes on when Accept has
// returned that one: a server that waits longer from error to error, as net/http
// does, sets the pace here as well.
func (l *Listener) acceptAll() {
	defer close(l.ended)
	for {
		c, err := l.inner.Accept()
		if err == nil {
			l.take(c)
			continue
		}
		if is(l.stopped) {
			return
		}
		select {
		case l.failed <- err:
		case <-l.stopped:
			return
		}
	}
}

func (l *Listener) take(inner net.Conn) {
	c := &conn{Conn: inner, listener: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if is(l.closed) {
		_ = inner.Close()
		return
	}
	c.unanswered.Store(true)
	l.unanswered.Add(1)
	l.silent[c] = struct{}{}
	_ = c.SetReadDeadline(time.Now().Add(l.firstByte))
	go l.receive(c)
}

// receive waits for the first bytes of a connection and for its turn. Who sends
// nothing is closed, and no error: load balancers look that way whether somebody
// listens.
func (l *Listener) receive(c *conn) {
	head := make([]byte, headSize)
	n, _ := c.Conn.Read(head)
	l.mu.Lock()
	delete(l.silent, c)
	l.mu.Unlock()
	if n == 0 {
		_ = c.Close()
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	c.head = head[:n]
	to := l.before
	if l.first == nil || !l.first(c.head) {
		to = l.ready
		l.queue(c)
	}
	select {
	case to <- c:
	case <-l.closed:
		_ = c.Close()
	}
}

// queue waits for a place, in the order in which connections came, as a channel
// wakes its senders in order.
func (l *Listener) queue(c *conn) {
	patience := time.NewTimer(l.patience)
	defer patience.Stop()
	select {
	case l.places <- struct{}{}:
		c.placed.Store(true)
	case <-patience.C:
	case <-l.closed:
	}
}

func is(event <-chan struct{}) bool {
	select {
	case <-event:
		return true
	default:
		return false
	}
}
