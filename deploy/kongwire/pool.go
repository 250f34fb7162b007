package kongwire

import (
	"bufio"
	"context"
	"net"
	"sync"
	"syscall"
)

// maxIdle is what Kong keeps per worker: lua_socket_pool_size as Kong sets it.
const maxIdle = 256

// pool keeps idle connections, the one used last on top.
type pool struct {
	socket string

	mu     sync.Mutex
	idle   []*connection
	closed bool
}

func newPool(socket string) *pool { return &pool{socket: socket} }

func (p *pool) get(ctx context.Context) (*connection, error) {
	for {
		conn := p.pop()
		if conn == nil {
			break
		}
		if conn.quiet() {
			return conn, nil
		}
		_ = conn.Close()
	}
	nc, err := new(net.Dialer).DialContext(ctx, "unix", p.socket)
	if err != nil {
		return nil, err
	}
	return &connection{Conn: nc, reader: bufio.NewReader(nc)}, nil
}

func (p *pool) pop() *connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	conn := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return conn
}

func (p *pool) put(conn *connection, keep bool) {
	if keep {
		p.mu.Lock()
		if keep = !p.closed && len(p.idle) < maxIdle; keep {
			p.idle = append(p.idle, conn)
		}
		p.mu.Unlock()
	}
	if !keep {
		_ = conn.Close()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, conn := range p.idle {
		_ = conn.Close()
	}
	p.idle = nil
}

// quiet reports that the plugin has neither closed an idle connection nor
// written to it. Kong's event loop drops such a connection as it happens.
func (c *connection) quiet() bool {
	unix, ok := c.Conn.(*net.UnixConn)
	if !ok || c.reader.Buffered() > 0 {
		return false
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return false
	}
	waiting := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		waiting = err == syscall.EAGAIN
	})
	return err == nil && waiting
}
