package paced_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/earlybird/earlybird/identity/paced"
)

// These tests have net/http and the kernel on top and below. Where the rule is
// that somebody does not wait for a place, waiting would take an hour.

const (
	get    = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	wait   = 20 * time.Second // for what should happen soon
	anHour = time.Hour
)

// service is a server on a paced listener.
type service struct {
	*http.Server
	paced *paced.Listener
	ended chan error
}

func listenTCP(t *testing.T) *net.TCPListener {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return inner.(*net.TCPListener)
}

func serve(t *testing.T, inner net.Listener, c paced.Config, handler http.HandlerFunc) *service {
	t.Helper()
	s := &service{
		Server: &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)},
		paced:  paced.Listen(inner, c), ended: make(chan error, 1),
	}
	go func() { s.ended <- s.Serve(s.paced) }()
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (s *service) dial(t *testing.T, send string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.paced.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(wait))
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	return c
}

// answer reads one answer.
func answer(t *testing.T, from *bufio.Reader) (status int, body string) {
	t.Helper()
	res, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

func (s *service) wantAnswer(t *testing.T, send string) {
	t.Helper()
	if status, _ := answer(t, bufio.NewReader(s.dial(t, send))); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}

func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(wait):
		t.Fatalf("%s: nothing after %s", what, wait)
		panic("unreachable")
	}
}

// Nobody in these states keeps a place. Checked with a Read that frees none.
func TestWhoFreesThePlace(t *testing.T) {
	post := "POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
	for name, send := range map[string]string{
		"half a request":              "GET / HT",
		"a request in the handler":    "GET /stay HTTP/1.1\r\nHost: x\r\n\r\n",
		"a body that is not complete": "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel",
		"a body that is read":         "POST /stay HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
		"idle after an answer":        get,
		"idle after an unread body":   post + "\r\nhello",
		"a client that may continue":  "POST /read HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
		"closed by the server":        post + "Connection: close\r\n\r\nhello",
		"no HTTP":                     "hello\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			leave := make(chan struct{})
			s := serve(t, listenTCP(t), paced.Config{AtOnce: 1, Patience: anHour}, func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/unread" {
					_, _ = io.Copy(io.Discard, r.Body)
				}
				if r.URL.Path == "/stay" {
					<-leave
				}
			})
			defer close(leave)
			for range 3 {
				s.dial(t, send)
			}
			s.wantAnswer(t, get)
		})
	}
}

// digest answers what it got.
func digest(w http.ResponseWriter, r *http.Request) {
	h := sha256.New()
	_, _ = io.WriteString(h, r.URL.Path+r.Header.Get("Long"))
	n, err := io.Copy(h, r.Body)
	_, _ = fmt.Fprintf(w, "%x %d %v", h.Sum(nil), n, err)
}

// Checked with a Read that returns nothing but what came first.
func TestRequestArrivesWhole(t *testing.T) {
	s := serve(t, listenTCP(t), paced.Config{AtOnce: 1}, digest)
	for _, size := range []struct{ header, body int }{{0, 10}, {900, 100}, {5000, 0}, {20_000, 3 << 20}} {
		long := strings.Repeat("l", size.header)
		body := bytes.Repeat([]byte("0123456789"), size.body/10)
		c := s.dial(t, "")
		go func() {
			_, _ = fmt.Fprintf(c, "POST /big HTTP/1.1\r\nHost: x\r\nLong: %s\r\nContent-Length: %d\r\n\r\n%s", long, len(body), body)
		}()
		want := fmt.Sprintf("%x %d <nil>", sha256.Sum256(append([]byte("/big"+long), body...)), len(body))
		if _, got := answer(t, bufio.NewReader(c)); got != want {
			t.Errorf("%+v: got %s, want %s", size, got, want)
		}
	}
}

func TestPipelinedAndKeptAlive(t *testing.T) {
	s := serve(t, listenTCP(t), paced.Config{AtOnce: 1, Patience: anHour}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path)
	})
	request := func(n int) string { return fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", n) }
	c := s.dial(t, request(0)+request(1)+request(2))
	answers := bufio.NewReader(c)
	for n := range 6 {
		if n >= 3 {
			if _, err := io.WriteString(c, request(n)); err != nil {
				t.Fatal(err)
			}
		}
		if _, body := answer(t, answers); body != fmt.Sprintf("/%d", n) {
			t.Errorf("answer %d is %q", n, body)
		}
	}
}

func TestHandlerSeesItsClientGo(t *testing.T) {
	entered, ended := make(chan struct{}), make(chan error, 1)
	s := serve(t, listenTCP(t), paced.Config{}, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		select {
		case <-r.Context().Done():
			ended <- nil
		case <-time.After(wait):
			ended <- errors.New("the context does not end")
		}
	})
	c := s.dial(t, get)
	receive(t, entered, "handler")
	c.Close()
	if err := receive(t, ended, "end of the handler"); err != nil {
		t.Error(err)
	}
}

func TestExpectContinue(t *testing.T) {
	s := serve(t, listenTCP(t), paced.Config{AtOnce: 1, Patience: anHour}, digest)
	c := s.dial(t, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	from := bufio.NewReader(c)
	if status, _ := answer(t, from); status != http.StatusContinue {
		t.Fatalf("status %d, want 100", status)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if status, body := answer(t, from); status != http.StatusOK || !strings.HasSuffix(body, " 5 <nil>") {
		t.Errorf("answer %d %s", status, body)
	}
}

func TestCloseWrite(t *testing.T) {
	l := paced.Listen(listenTCP(t), paced.Config{})
	t.Cleanup(func() { _ = l.Close() })
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_ = client.SetDeadline(time.Now().Add(wait))
	_, _ = io.WriteString(client, "hello")
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the client reads %v", err)
	}
	_, _ = io.WriteString(client, ", and more")
	_ = client.(*net.TCPConn).CloseWrite()
	if all, err := io.ReadAll(c); err != nil || string(all) != "hello, and more" {
		t.Errorf("the server reads %q, %v", all, err)
	}
}

// failing fails so many times before it accepts.
type failing struct {
	*net.TCPListener
	left, asked atomic.Int64
	err         error
}

func (f *failing) Accept() (net.Conn, error) {
	f.asked.Add(1)
	if f.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: f.err}
	}
	return f.TCPListener.Accept()
}

// net/http waits longer and longer after errors that pass, and ends at others.
func TestErrorsReachTheServer(t *testing.T) {
	passing := &failing{TCPListener: listenTCP(t), err: syscall.EMFILE}
	passing.left.Store(4)
	start := time.Now()
	s := serve(t, passing, paced.Config{}, func(http.ResponseWriter, *http.Request) {})
	s.wantAnswer(t, get)
	if took, asked := time.Since(start), passing.asked.Load(); took < (5+10+20)*time.Millisecond || asked > 6 {
		t.Errorf("inner accept was asked %d times in %s", asked, took)
	}
	lasting := &failing{TCPListener: listenTCP(t), err: errors.New("no network")}
	lasting.left.Store(1 << 40)
	s = serve(t, lasting, paced.Config{}, nil)
	if err := receive(t, s.ended, "end of the server"); !errors.Is(err, lasting.err) {
		t.Errorf("serve ended with %v", err)
	}
	if asked := lasting.asked.Load(); asked > 2 {
		t.Errorf("inner accept was asked %d times", asked)
	}
}

// Shutdown holds a mutex of the server that its Accept loop needs: a Close that
// waits for hand-overs would wait for ever. All goroutines end with it.
func TestShutdownWithoutDrain(t *testing.T) {
	before := runtime.NumGoroutine()
	entered, leave := make(chan struct{}), make(chan struct{})
	inner := listenTCP(t)
	s := serve(t, inner, paced.Config{AtOnce: 1, Patience: anHour}, func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-leave
	})
	c := s.dial(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1") // has the place, as nobody reads its body
	receive(t, entered, "handler")
	for range 50 {
		s.dial(t, "")
		s.dial(t, get)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(within(t)) }()
	if err := receive(t, s.ended, "end of Serve"); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("serve: %v", err)
	}
	close(leave)
	if status, _ := answer(t, bufio.NewReader(c)); status != http.StatusOK {
		t.Errorf("status %d of the request that was running", status)
	}
	if err := receive(t, ended, "end of Shutdown"); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	for deadline := time.Now().Add(wait); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// net/http drops a request if Shutdown was called before it is read to the end
// of its headers. Checked with a Drain that waits for hand-overs alone, and with
// one that is content when the server reads again.
func TestDrainWaitsForRequestsThatAreBeingRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := newPipes()
		s := serve(t, inner, paced.Config{}, digest)
		c := inner.dial(t, "GET / HTTP/1.1\r\nHost")
		stopped := make(chan error, 1)
		go func() {
			s.paced.Drain(within(t))
			stopped <- s.Shutdown(within(t))
		}()
		time.Sleep(2 * time.Second)
		if _, err := io.WriteString(c, ": x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if status, _ := answer(t, bufio.NewReader(c)); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// Shutdown closes a connection that is kept open also while the client's next
// request is on its way. Checked with a Drain that ends when nothing is unanswered.
func TestDrainLetsKeptConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stopping atomic.Bool
		inner := newPipes()
		s := serve(t, inner, paced.Config{}, func(w http.ResponseWriter, _ *http.Request) {
			if stopping.Load() {
				w.Header().Set("Connection", "close")
			}
		})
		c := inner.dial(t, get)
		from := bufio.NewReader(c)
		if status, _ := answer(t, from); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		stopping.Store(true)
		stopped := make(chan error, 1)
		go func() {
			s.paced.Drain(within(t))
			stopped <- s.Shutdown(within(t))
		}()
		time.Sleep(90 * time.Millisecond)
		if _, err := io.WriteString(c, get); err != nil {
			t.Fatal(err)
		}
		if status, _ := answer(t, from); status != http.StatusOK {
			t.Errorf("status %d of the next request", status)
		}
		if _, err := from.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("after its answer: %v, want the end", err)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// lagging accepts nothing until somebody sets a deadline.
type lagging struct {
	*net.TCPListener
	begin chan struct{}
	once  sync.Once
}

func (l *lagging) Accept() (net.Conn, error) {
	<-l.begin
	return l.TCPListener.Accept()
}

func (l *lagging) SetDeadline(t time.Time) error {
	defer l.once.Do(func() { close(l.begin) })
	return l.TCPListener.SetDeadline(t)
}

func (l *lagging) Close() error {
	defer l.once.Do(func() { close(l.begin) })
	return l.TCPListener.Close()
}

// The kernel establishes connections by itself, and resets those that nobody
// has accepted when the listener closes. Checked without sweep.
func TestDrainTakesWhatTheKernelHas(t *testing.T) {
	inner := &lagging{TCPListener: listenTCP(t), begin: make(chan struct{})}
	s := serve(t, inner, paced.Config{AtOnce: 2}, digest)
	var conns []net.Conn
	for range 30 {
		conns = append(conns, s.dial(t, get))
	}
	s.paced.Drain(within(t))
	if err := s.Shutdown(within(t)); err != nil {
		t.Error(err)
	}
	for _, c := range conns {
		if status, _ := answer(t, bufio.NewReader(c)); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
}

// remembering knows the address of every client it has accepted.
type remembering struct {
	*net.TCPListener
	accepted sync.Map
}

func (r *remembering) Accept() (net.Conn, error) {
	c, err := r.TCPListener.Accept()
	if err == nil {
		r.accepted.Store(c.RemoteAddr().String(), true)
	}
	return c, err
}

// Whoever was accepted and has sent a request is answered, whenever the stop
// comes. Clients that were slow to send are left out: what counts is less
// than the time that Drain gives them. Checked with a Drain that gives them none.
func TestStopUnderLoadLosesNothing(t *testing.T) {
	for range 5 {
		inner := &remembering{TCPListener: listenTCP(t)}
		s := serve(t, inner, paced.Config{AtOnce: 4}, digest)
		var answered, lost atomic.Int64
		var clients sync.WaitGroup
		for range 32 {
			clients.Go(func() {
				for request(inner, &answered, &lost) {
				}
			})
		}
		for deadline := time.Now().Add(wait); answered.Load() < 300; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d requests were answered", answered.Load())
			}
		}
		s.paced.Drain(within(t))
		if err := s.Shutdown(within(t)); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		clients.Wait()
		if lost.Load() > 0 {
			t.Errorf("%d answered, %d lost", answered.Load(), lost.Load())
		}
	}
}

// request sends one and reports whether it could connect.
func request(to *remembering, answered, lost *atomic.Int64) bool {
	start := time.Now()
	c, err := net.Dial("tcp", to.Addr().String())
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(start.Add(wait))
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nLong: "+strings.Repeat("l", 1500)+"\r\n\r\n")
	slow := time.Since(start) > 50*time.Millisecond
	status := make([]byte, len("HTTP/1.1 200"))
	if err == nil {
		_, err = io.ReadFull(c, status)
	}
	if err == nil && string(status) == "HTTP/1.1 200" {
		answered.Add(1)
	} else if _, accepted := to.accepted.Load(c.LocalAddr().String()); accepted && !slow {
		lost.Add(1)
	}
	return true
}
