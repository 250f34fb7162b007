package mongostore

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/earlybird/earlybird/deploy/testserver"
)

// proxy stands between a store and its server, to lose and change what they say,
// message by message.
type proxy struct {
	*testserver.Proxy

	mu   sync.Mutex
	hung bool     // takes requests and forwards nothing
	lose [][]byte // the answer to the next request that holds all of these is lost

	// Set before the first connection, or nil.
	before func(request []byte)                // runs before a request is forwarded
	change func(request, answer []byte) []byte // the answer that is forwarded
}

// newProxy returns a proxy before the server of a URL, and the URL through it.
func newProxy(t *testing.T, target string) (*proxy, string) {
	t.Helper()
	p := &proxy{}
	var through string
	p.Proxy, through = testserver.NewProxy(t, target, p.serve)
	return p, through
}

func (p *proxy) setHung(hung bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hung = hung
}

// loseAnswer cuts the connection instead of forwarding the answer to the next
// request that holds all of words. The server has carried it out by then.
func (p *proxy) loseAnswer(words ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose = nil
	for _, w := range words {
		p.lose = append(p.lose, []byte(w))
	}
}

// lost reports whether the answer was lost that loseAnswer asked for.
func (p *proxy) lost() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lose == nil
}

// serve forwards one request and then its answer, for ever.
func (p *proxy) serve(client, server net.Conn) {
	defer client.Close()
	defer server.Close()
	for {
		request, err := readMessage(client)
		if err != nil || p.isHung() {
			_, _ = io.Copy(io.Discard, client) // until the client gives up
			return
		}
		if p.before != nil {
			p.before(request)
		}
		if _, err := server.Write(request); err != nil {
			return
		}
		answer, err := readMessage(server)
		if err != nil || p.loses(request) {
			return
		}
		if p.change != nil {
			answer = p.change(request, answer)
		}
		if _, err := client.Write(answer); err != nil {
			return
		}
	}
}

func (p *proxy) isHung() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hung
}

func (p *proxy) loses(request []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lose == nil {
		return false
	}
	for _, w := range p.lose {
		if !bytes.Contains(request, w) {
			return false
		}
	}
	p.lose = nil
	return true
}

// readMessage reads one message of the MongoDB wire protocol: a little-endian
// length of all of it, then the rest.
func readMessage(r io.Reader) ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	size := int(head[0]) | int(head[1])<<8 | int(head[2])<<16 | int(head[3])<<24
	message := append(head, make([]byte, size-4)...)
	_, err := io.ReadFull(r, message[4:])
	return message, err
}
