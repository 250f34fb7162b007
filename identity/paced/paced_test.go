package paced_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/earlybird/earlybird/identity/paced"
)

// These tests run in a bubble of package synctest: time is virtual, and a
// goroutine that is left at the end fails the test.

// pipes is a listener for connections in memory.
type pipes struct {
	conns  chan net.Conn
	errs   chan error
	closed chan struct{}
	closes int
	last   net.Conn // if not nil, accepted in the moment of Close
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), errs: make(chan error), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case err := <-p.errs:
		return nil, err
	case <-p.closed:
		if c := p.last; c != nil {
			p.last = nil
			return c, nil
		}
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	if p.closes++; p.closes > 1 {
		return net.ErrClosed
	}
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "here"} }

// dial connects a client and lets it send something, if that is not empty.
func (p *pipes) dial(t *testing.T, send string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close() })
	p.conns <- server
	if send != "" {
		if _, err := io.WriteString(client, send); err != nil {
			t.Error(err)
		}
	}
	synctest.Wait()
	return client
}

// accepted is what Accept has returned.
type accepted struct {
	mu    sync.Mutex
	conns []net.Conn
	heads []string
	err   error // with which it ended
}

// acceptAll calls Accept until it fails, and reads of each connection once.
func acceptAll(l *paced.Listener) *accepted {
	a := &accepted{}
	go func() {
		for {
			c, err := l.Accept()
			a.mu.Lock()
			if err != nil {
				a.err = err
				a.mu.Unlock()
				return
			}
			head := make([]byte, 4096)
			n, _ := c.Read(head)
			a.conns = append(a.conns, c)
			a.heads = append(a.heads, string(head[:n]))
			a.mu.Unlock()
		}
	}()
	return a
}

func (a *accepted) want(t *testing.T, heads ...string) {
	t.Helper()
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(heads) == 0 && len(a.heads) == 0 {
		return
	}
	if got, want := join(a.heads), join(heads); got != want {
		t.Fatalf("handed over: %s; want %s", got, want)
	}
}

func (a *accepted) conn(i int) net.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conns[i]
}

func join(heads []string) string {
	var all []byte
	for _, h := range heads {
		all = strconv.AppendQuote(all, h)
	}
	return string(all)
}

// bubble runs a test with a listener of which nothing may be left.
func bubble(t *testing.T, c paced.Config, test func(t *testing.T, inner *pipes, l *paced.Listener)) {
	synctest.Test(t, func(t *testing.T) {
		inner := newPipes()
		l := paced.Listen(inner, c)
		defer func() {
			if err := l.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}()
		test(t, inner, l)
	})
}

// within is a context for what should end soon.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	t.Cleanup(cancel)
	return ctx
}

// Checked with a Read that frees the place while something is left of what came
// first, and with one that frees it each time.
func TestPlaceIsFreeWhenTheServerReadsAgain(t *testing.T) {
	bubble(t, paced.Config{AtOnce: 1, Patience: time.Hour}, func(t *testing.T, inner *pipes, l *paced.Listener) {
		inner.dial(t, "first")
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		a := acceptAll(l)
		for _, send := range []string{"second", "third"} {
			inner.dial(t, send)
		}
		for _, want := range []string{"fi", "rs", "t"} {
			b := make([]byte, 2)
			if n, err := c.Read(b); err != nil || string(b[:n]) != want {
				t.Fatalf("read %q, %v; want %q", b[:n], err, want)
			}
		}
		a.want(t)
		for range 2 {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := c.Read(make([]byte, 2)); err == nil {
				t.Fatal("there was nothing to read")
			}
		}
		_ = c.Close()
		a.want(t, "second")
	})
}

// Checked with one place more, and with a Close that frees none.
func TestNoMoreThanAtOnceAndInOrder(t *testing.T) {
	bubble(t, paced.Config{AtOnce: 2, Patience: time.Hour}, func(t *testing.T, inner *pipes, l *paced.Listener) {
		a := acceptAll(l)
		names := []string{"a", "b", "c", "d", "e", "f"}
		for _, name := range names {
			inner.dial(t, name)
		}
		for closed := range 4 {
			a.want(t, names[:closed+2]...)
			c := a.conn(closed)
			_ = c.Close()
			_ = c.Close()
		}
		a.want(t, names...)
	})
}

func TestDefaults(t *testing.T) {
	bubble(t, paced.Config{}, func(t *testing.T, inner *pipes, l *paced.Listener) {
		a := acceptAll(l)
		var names []string
		for i := range 65 {
			names = append(names, strconv.Itoa(i))
			inner.dial(t, names[i])
		}
		a.want(t, names[:64]...)
		time.Sleep(500*time.Millisecond - 1)
		a.want(t, names[:64]...)
		time.Sleep(time.Nanosecond)
		a.want(t, names...)
		if l.Addr().String() != "here" {
			t.Errorf("address %v", l.Addr())
		}
	})
}

// Who went on without a place gives none back. Checked by freeing one for it,
// which never returns.
func TestPatience(t *testing.T) {
	bubble(t, paced.Config{AtOnce: 1, Patience: time.Second}, func(t *testing.T, inner *pipes, l *paced.Listener) {
		a := acceptAll(l)
		inner.dial(t, "stalls")
		inner.dial(t, "waits")
		time.Sleep(time.Second / 2)
		inner.dial(t, "waits less")
		time.Sleep(time.Second / 2)
		a.want(t, "stalls", "waits")
		_ = a.conn(1).Close()
		a.want(t, "stalls", "waits")
		_ = a.conn(0).Close()
		a.want(t, "stalls", "waits", "waits less")
	})
}

func TestFirst(t *testing.T) {
	probe := func(head []byte) bool { return bytes.HasPrefix(head, []byte("GET /livez ")) }
	bubble(t, paced.Config{AtOnce: 1, Patience: time.Hour, First: probe}, func(t *testing.T, inner *pipes, l *paced.Listener) {
		a := acceptAll(l)
		for _, send := range []string{"POST /login", "GET /users", "GET /livez HTTP/1.1", "GET /livez", "GET /livez ?"} {
			inner.dial(t, send)
		}
		a.want(t, "POST /login", "GET /livez HTTP/1.1", "GET /livez ?")
		_ = a.conn(1).Close() // had no place
		a.want(t, "POST /login", "GET /livez HTTP/1.1", "GET /livez ?")
		_ = a.conn(0).Close()
		a.want(t, "POST /login", "GET /livez HTTP/1.1", "GET /livez ?", "GET /users")
	})
}

// A server that is slow to accept takes those first as well. Checked with one
// channel for all.
func TestFirstAmongThoseWhoseTurnItIs(t *testing.T) {
	probe := func(head []byte) bool { return string(head) == "probe" }
	bubble(t, paced.Config{First: probe}, func(t *testing.T, inner *pipes, l *paced.Listener) {
		for _, send := range []string{"a", "b", "probe", "c", "probe"} {
			inner.dial(t, send)
		}
		acceptAll(l).want(t, "probe", "probe", "a", "b", "c")
	})
}

func TestSilentConnections(t *testing.T) {
	bubble(t, paced.Config{FirstByte: 3 * time.Second}, func(t *testing.T, inner *pipes, l *paced.Listener) {
		a := acceptAll(l)
		inner.dial(t, "").Close()
		silent, late := inner.dial(t, ""), inner.dial(t, "")
		time.Sleep(3*time.Second - 1)
		if _, err := io.WriteString(late, "in time"); err != nil {
			t.Fatal(err)
		}
		a.want(t, "in time")
		start := time.Now()
		if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(start) != 1 {
			t.Errorf("%v after another %s; want the end of the connection after 1ns", err, time.Since(start))
		}
		a.want(t, "in time")
		// The time limit was for the beginning.
		go func() {
			time.Sleep(time.Minute)
			_, _ = io.WriteString(late, "much later")
		}()
		b := make([]byte, 100)
		if n, err := a.conn(0).Read(b); err != nil || string(b[:n]) != "much later" {
			t.Errorf("read %q, %v", b[:n], err)
		}
	})
}

// Checked with a listener that does not wait until its error was taken, and with
// one that ends at the first.
func TestErrorsOfTheInnerListener(t *testing.T) {
	bubble(t, paced.Config{}, func(t *testing.T, inner *pipes, l *paced.Listener) {
		full := &net.OpError{Op: "accept", Err: syscall.EMFILE}
		inner.errs <- full
		select {
		case inner.errs <- full:
			t.Error("accepts before the last error was seen")
		case <-time.After(time.Minute):
		}
		_, err := l.Accept()
		var temporary interface{ Temporary() bool }
		if !errors.Is(err, syscall.EMFILE) || !errors.As(err, &temporary) || !temporary.Temporary() {
			t.Fatalf("got %v, want EMFILE, which is temporary", err)
		}
		inner.dial(t, "hello")
		if _, err := l.Accept(); err != nil {
			t.Errorf("after the error: %v", err)
		}
		inner.errs <- full // that nobody takes
	})
}

// In what state a connection can be when Close comes. The bubble sees that
// nothing of the listener is left.
func TestClose(t *testing.T) {
	bubble(t, paced.Config{AtOnce: 1, Patience: time.Hour}, func(t *testing.T, inner *pipes, l *paced.Listener) {
		a := acceptAll(l)
		inner.dial(t, "served")
		left := []net.Conn{inner.dial(t, ""), inner.dial(t, "waits")}
		start := time.Now()
		for range 2 {
			if err := l.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		for _, c := range left {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("connection that waited: %v", err)
			}
		}
		a.want(t, "served")
		if !errors.Is(a.err, net.ErrClosed) {
			t.Errorf("accept: %v", a.err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after close: %v", err)
		}
		l.Drain(within(t))
		if time.Since(start) != 0 {
			t.Errorf("closing took %s", time.Since(start))
		}
	})
}

func TestCloseWithNobodyAtAccept(t *testing.T) {
	bubble(t, paced.Config{}, func(t *testing.T, inner *pipes, l *paced.Listener) {
		c := inner.dial(t, "has a place")
		_ = l.Close()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("connection that waited: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
	})
}

// Checked without the look at closed when a connection is taken.
func TestAcceptedInTheMomentOfClose(t *testing.T) {
	bubble(t, paced.Config{}, func(t *testing.T, inner *pipes, l *paced.Listener) {
		client, server := net.Pipe()
		inner.last = server
		start := time.Now()
		_ = l.Close()
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(start) != 0 {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

// Checked with a Drain that does not wait until nothing is accepted any more.
func TestAcceptedInTheMomentOfDrain(t *testing.T) {
	bubble(t, paced.Config{}, func(t *testing.T, inner *pipes, l *paced.Listener) {
		client, server := net.Pipe()
		inner.last = server
		start := time.Now()
		go l.Drain(within(t))
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("%v after %s, want the end after 100ms", err, time.Since(start))
		}
	})
}

// Checked with a Drain that closes who is silent at once, one that forgets them,
// and one that does not wait for an answer.
func TestDrain(t *testing.T) {
	bubble(t, paced.Config{AtOnce: 1}, func(t *testing.T, inner *pipes, l *paced.Listener) {
		a := acceptAll(l)
		inner.dial(t, "served")
		waits, silent, late := inner.dial(t, "waits"), inner.dial(t, ""), inner.dial(t, "")
		drained := make(chan time.Duration, 1)
		start := time.Now()
		go func() {
			l.Drain(within(t))
			drained <- time.Since(start)
		}()
		time.Sleep(100*time.Millisecond - 1)
		if _, err := io.WriteString(late, "late"); err != nil {
			t.Fatal(err)
		}
		if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("silent connection: %v after %s", err, time.Since(start))
		}
		_ = a.conn(0).Close()
		go func() { _, _ = io.Copy(io.Discard, waits) }()
		time.Sleep(time.Second)
		a.want(t, "served", "waits", "late")
		_, _ = io.WriteString(a.conn(1), "answer")
		_, _ = io.WriteString(a.conn(1), "answer")
		time.Sleep(time.Second)
		select {
		case <-drained:
			t.Fatal("drained before the last was answered")
		default:
		}
		_ = a.conn(2).Close()
		if took := <-drained; took > 2200*time.Millisecond {
			t.Errorf("drained after %s", took)
		}
		synctest.Wait()
		if a.err != nil {
			t.Errorf("accept has ended with %v", a.err)
		}
		l.Drain(within(t))
	})
}

func TestDrainEndsWithItsContextAndWithClose(t *testing.T) {
	bubble(t, paced.Config{}, func(t *testing.T, inner *pipes, l *paced.Listener) {
		inner.dial(t, "nobody takes it")
		ctx, cancel := context.WithTimeout(within(t), time.Second)
		defer cancel()
		start := time.Now()
		l.Drain(ctx)
		if took := time.Since(start); took != time.Second {
			t.Errorf("drained for %s, want 1s", took)
		}
		go func() {
			time.Sleep(time.Second)
			_ = l.Close()
		}()
		l.Drain(within(t))
		if took := time.Since(start); took > 2100*time.Millisecond {
			t.Errorf("close ended it after %s, want 2s", took)
		}
		if inner.closes != 1 {
			t.Errorf("the inner listener was closed %d times", inner.closes)
		}
	})
}

func TestCloseWriteWithoutOne(t *testing.T) {
	bubble(t, paced.Config{}, func(t *testing.T, inner *pipes, l *paced.Listener) {
		inner.dial(t, "hello")
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("a pipe: %v", err)
		}
	})
}
