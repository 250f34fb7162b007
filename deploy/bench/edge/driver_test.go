//go:build linux

package edge_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
)

const (
	getHeader = "kong.request.get_header"
	exit      = "kong.response.exit"
)

// driver plays one of Kong's workers: one thread, many connections, one event
// at a time on each. Its messages are made beforehand, so that it costs little
// of the machine it shares with the plugin.
type driver struct {
	socket  string
	call    []byte            // the frame of the event
	replies map[string][]byte // the frames that answer the plugin's calls
	// next returns the answer to get_header when it differs from request to
	// request; nil ends the run.
	next func() []byte

	epoll  int
	conns  map[int]*connection
	events []syscall.EpollEvent
	done   counts
}

// counts are how requests ended.
type counts struct{ passed, exited, calls int }

func (c counts) requests() int { return c.passed + c.exited }

// connection is one of the pool.
type connection struct {
	fd       int
	in       []byte // received and not used yet
	buffer   [8 << 10]byte
	reply    []byte // of the call whose arguments come next
	header   []byte // the answer to get_header of this request
	inArgs   bool
	exiting  bool
	inReturn bool
	idle     bool
}

// frame is a message as Kong sends it: its length, then its bytes.
func frame(m proto.Message) []byte {
	var data []byte
	if m != nil {
		var err error
		if data, err = proto.Marshal(m); err != nil {
			panic(err)
		}
	}
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(data))), data...)
}

func eventFrame(instance int32, phase string) []byte {
	return frame(&kong_plugin_protocol.RpcCall{Sequence: 1, Call: &kong_plugin_protocol.RpcCall_CmdHandleEvent{
		CmdHandleEvent: &kong_plugin_protocol.CmdHandleEvent{InstanceId: instance, EventName: phase},
	}})
}

// run sends requests over n connections until the time is up or next has no
// more, and counts how they ended.
func (d *driver) run(n int, limit time.Duration) (c counts, took time.Duration, err error) {
	d.done, d.conns, d.events = counts{}, map[int]*connection{}, make([]syscall.EpollEvent, n)
	if d.epoll, err = syscall.EpollCreate1(0); err != nil {
		return c, 0, err
	}
	defer d.close()
	began := time.Now()
	for range n {
		conn := &connection{}
		if err := errors.Join(d.connect(conn), d.begin(conn, true)); err != nil {
			return c, 0, err
		}
	}
	for busy := n; busy > 0; {
		ready, err := syscall.EpollWait(d.epoll, d.events, -1)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return c, 0, err
		}
		more := time.Since(began) < limit
		for _, event := range d.events[:ready] {
			conn := d.conns[int(event.Fd)]
			if err := d.receive(conn, more); err != nil {
				return c, 0, err
			}
			if conn.idle {
				busy--
			}
		}
	}
	return d.done, time.Since(began), nil
}

func (d *driver) close() {
	for fd := range d.conns {
		_ = syscall.Close(fd)
	}
	_ = syscall.Close(d.epoll)
}

func (d *driver) connect(c *connection) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	*c = connection{fd: fd}
	d.conns[fd] = c
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: d.socket}); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return syscall.EpollCtl(d.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
}

// begin sends the next event, if there is to be one.
func (d *driver) begin(c *connection, more bool) error {
	if d.next != nil && more {
		c.header = d.next()
		more = c.header != nil
	}
	if !more {
		c.idle = true
		return syscall.EpollCtl(d.epoll, syscall.EPOLL_CTL_DEL, c.fd, nil)
	}
	return c.write(d.call)
}

// write writes a frame as Kong does: its length, then the rest.
func (c *connection) write(frame []byte) error {
	if _, err := syscall.Write(c.fd, frame[:4]); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if len(frame) == 4 {
		return nil
	}
	if n, err := syscall.Write(c.fd, frame[4:]); err != nil || n != len(frame)-4 {
		return fmt.Errorf("wrote %d of %d bytes: %w", n, len(frame)-4, err)
	}
	return nil
}

// receive reads what there is and answers each call.
func (d *driver) receive(c *connection, more bool) error {
	kept := copy(c.buffer[:], c.in)
	n, err := syscall.Read(c.fd, c.buffer[kept:])
	if err != nil || n == 0 {
		return fmt.Errorf("read %d bytes: %w", n, err)
	}
	c.in = c.buffer[:kept+n]
	for len(c.in) >= 4 {
		size := int(binary.LittleEndian.Uint32(c.in))
		if len(c.in) < 4+size {
			return nil
		}
		body := c.in[4 : 4+size]
		c.in = c.in[4+size:]
		if err := d.take(c, body, more); err != nil {
			return err
		}
	}
	return nil
}

// take handles one frame of the plugin's.
func (d *driver) take(c *connection, body []byte, more bool) error {
	switch {
	case c.inReturn:
		c.inReturn = false
		d.done.passed++
		return d.begin(c, more)
	case c.inArgs && c.exiting: // Kong closes the connection of a request that was ended
		d.done.exited++
		delete(d.conns, c.fd)
		_ = syscall.Close(c.fd)
		return errors.Join(d.connect(c), d.begin(c, more))
	case c.inArgs:
		c.inArgs = false
		d.done.calls++
		return c.write(c.reply)
	case len(body) == 0:
		c.inReturn = true
		return nil
	}
	c.inArgs, c.exiting = true, string(body) == exit
	c.reply = d.replies[string(body)]
	if c.header != nil && string(body) == getHeader {
		c.reply = c.header
	}
	if c.reply == nil && !c.exiting {
		return fmt.Errorf("unexpected call %q", body)
	}
	return nil
}
