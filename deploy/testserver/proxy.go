package testserver

import (
	"bytes"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy stands before a server, to delay, lose and cut what a network does.
type Proxy struct {
	listener net.Listener
	server   string
	carry    func(client, server net.Conn)

	mu    sync.Mutex
	delay time.Duration
	down  bool
	lose  *fault
	conns map[net.Conn]bool
}

// fault is what happens to one request or to its answer.
type fault struct {
	words   [][]byte
	late    time.Duration // 0: the connection is cut instead
	request bool          // the request is late, not the answer
	found   chan struct{}
}

// NewProxy returns a proxy before the server of a URL, and the URL through it.
// Both end with the test. forward carries what one client and the server say to
// each other, until either ends; nil carries bytes as they come, with the delays
// and losses of Proxy's methods.
func NewProxy(t testing.TB, target string, forward func(client, server net.Conn)) (*Proxy, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ProxyOn(t, listener, target, forward)
}

// ProxyOn is NewProxy that listens there.
func ProxyOn(t testing.TB, listener net.Listener, target string, forward func(client, server net.Conn)) (*Proxy, string) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: listener, server: u.Host, conns: map[net.Conn]bool{}, carry: forward}
	t.Cleanup(func() {
		_ = listener.Close()
		p.SetDown(true)
	})
	go p.accept()
	return p, strings.Replace(target, u.Host, listener.Addr().String(), 1)
}

// SetDelay has every request arrive so much later, and so every answer too.
func (p *Proxy) SetDelay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// SetDown cuts all connections and refuses new ones, or accepts them again.
func (p *Proxy) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	if !down {
		return
	}
	for c := range p.conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

// LoseAnswer cuts the connection in place of forwarding the answer to the next
// request that holds all of the words. The server has carried it out by then,
// and the channel is closed.
func (p *Proxy) LoseAnswer(words ...string) <-chan struct{} { return p.next(fault{}, words) }

// DelayAnswer holds the answer to the next request with all of the words back
// for so long. The channel is closed when the server has given it.
func (p *Proxy) DelayAnswer(late time.Duration, words ...string) <-chan struct{} {
	return p.next(fault{late: late}, words)
}

// DelayRequest has the next request with all of the words arrive so much later.
// The channel is closed when it was sent.
func (p *Proxy) DelayRequest(late time.Duration, words ...string) <-chan struct{} {
	return p.next(fault{late: late, request: true}, words)
}

func (p *Proxy) next(f fault, words []string) <-chan struct{} {
	f.found = make(chan struct{})
	for _, w := range words {
		f.words = append(f.words, []byte(w))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose = &f
	return f.found
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !p.keep(client, server) {
			continue
		}
		if p.carry != nil {
			go p.carry(client, server)
			continue
		}
		caught := make(chan *fault, 1) // the request that was forwarded last is one whose answer is lost
		go p.forward(client, server, caught, true)
		go p.forward(server, client, caught, false)
	}
}

// keep registers a pair of connections, or closes them while the proxy is down.
func (p *Proxy) keep(pair ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range pair {
		if p.down {
			_ = c.Close()
		} else {
			p.conns[c] = true
		}
	}
	return !p.down
}

// piece is what came at once, and when it is due.
type piece struct {
	bytes []byte
	due   time.Time
}

// forward carries bytes from one connection to the other. What is delayed keeps
// its order, and does not hold back what is behind it any longer.
func (p *Proxy) forward(from, to net.Conn, caught chan *fault, requests bool) {
	pieces := make(chan piece, 1024)
	go func() {
		defer func() { _ = to.Close() }()
		for piece := range pieces {
			if wait := time.Until(piece.due); wait > 0 {
				time.Sleep(wait)
			}
			if _, err := to.Write(piece.bytes); err != nil {
				break
			}
		}
		for range pieces { // until the reader ends
		}
	}()
	defer close(pieces)
	defer func() {
		_ = from.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, from)
	}()
	for buffer := make([]byte, 64<<10); ; {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		next := piece{bytes: bytes.Clone(buffer[:n]), due: time.Now()}
		if requests {
			l, delay := p.matches(next.bytes)
			if l != nil {
				caught <- l
			}
			next.due = next.due.Add(delay)
		} else {
			select {
			case l := <-caught:
				close(l.found)
				if l.late == 0 {
					return
				}
				next.due = next.due.Add(l.late)
			default:
			}
		}
		pieces <- next
	}
}

// matches returns the fault that the answer to a request is to suffer, nil for
// none, and how late the request is.
func (p *Proxy) matches(request []byte) (*fault, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lose
	if l == nil {
		return nil, p.delay
	}
	for _, w := range l.words {
		if !bytes.Contains(request, w) {
			return nil, p.delay
		}
	}
	p.lose = nil
	if l.request {
		close(l.found)
		return nil, p.delay + l.late
	}
	return l, p.delay
}
