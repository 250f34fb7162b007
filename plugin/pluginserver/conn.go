package pluginserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
)

// lingering bounds how long a connection that has been ended is still read:
// Kong must be able to write the replies it owes.
const lingering = time.Second

// conn is one of Kong's pooled connections: one event at a time.
type conn struct {
	server *Server
	wire   *wire
	event  Event
	watch  *time.Timer // overrules the event that runs; nil before the first
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	busy     bool  // an event runs
	sequence int64 // of the event that runs or ran last
	draining bool
}

func newConn(ctx context.Context, s *Server, nc net.Conn) *conn {
	c := &conn{server: s, wire: newWire(nc, s.config.MaxFrame)}
	c.event.wire = c.wire
	c.ctx, c.cancel = context.WithCancel(ctx)
	return c
}

// serve answers Kong's calls until either side ends the connection.
func (c *conn) serve() {
	defer c.cancel()
	defer c.wire.conn.Close()
	for {
		frame, err := c.wire.next()
		if err != nil {
			c.readFailed(err)
			return
		}
		err = c.answer(frame)
		switch {
		case errors.Is(err, errExited):
			return // Kong owes nothing and expects nothing
		case err != nil && !errors.Is(err, errEnded):
			c.server.log.WarnContext(c.ctx, "connection closed", slog.Any("err", err))
		}
		if err != nil || c.isDraining() {
			c.linger()
			return
		}
	}
}

func (c *conn) readFailed(err error) {
	quiet := errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
	if !quiet {
		c.server.metrics.badFrames.Inc()
		c.server.log.WarnContext(c.ctx, "connection closed", slog.Any("err", err))
	}
}

// answer handles one RpcCall. An error ends the connection.
func (c *conn) answer(frame []byte) error {
	var call kong_plugin_protocol.RpcCall
	if err := proto.Unmarshal(frame, &call); err != nil {
		c.server.metrics.badFrames.Inc()
		return fmt.Errorf("decode call: %w", err)
	}
	switch m := call.GetCall().(type) {
	case *kong_plugin_protocol.RpcCall_CmdHandleEvent:
		e := m.CmdHandleEvent
		return c.handle(call.GetSequence(), e.GetInstanceId(), e.GetEventName())
	case *kong_plugin_protocol.RpcCall_CmdStartInstance:
		return c.startInstance(call.GetSequence(), m.CmdStartInstance)
	case *kong_plugin_protocol.RpcCall_CmdCloseInstance:
		return c.closeInstance(call.GetSequence(), m.CmdCloseInstance.GetInstanceId())
	default:
		c.server.metrics.badFrames.Inc()
		return fmt.Errorf("unknown call %T", m)
	}
}

// startInstance ends the connection when the instance cannot be started: Kong
// then answers that request with 500, and tries again with the next.
func (c *conn) startInstance(sequence int64, m *kong_plugin_protocol.CmdStartInstance) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.server.metrics.panics.Inc()
			err = fmt.Errorf("start instance: panic: %v\n%s", p, debug.Stack())
		}
	}()
	r, err := c.server.instances.open(c.ctx, m.GetConfig())
	if err != nil {
		return err
	}
	c.server.log.InfoContext(c.ctx, "instance started", slog.Int("instance", int(r.id)))
	return c.replyStatus(sequence, r)
}

func (c *conn) closeInstance(sequence int64, id int32) error {
	r, ok := c.server.instances.close(id)
	if !ok {
		r = &running{id: id}
	}
	c.server.log.InfoContext(c.ctx, "instance closed", slog.Int("instance", int(id)))
	return c.replyStatus(sequence, r)
}

func (c *conn) replyStatus(sequence int64, r *running) (err error) {
	c.wire.out, err = appendMessage(c.wire.out[:0], &kong_plugin_protocol.RpcReturn{Sequence: sequence, Return: &kong_plugin_protocol.RpcReturn_InstanceStatus{
		InstanceStatus: &kong_plugin_protocol.InstanceStatus{
			Name: c.server.plugin.Name, InstanceId: r.id, StartedAt: r.started.Unix(),
		},
	}})
	if err != nil {
		return fmt.Errorf("encode reply: %w", err)
	}
	return c.wire.send()
}

// handle runs the handler for one request and tells Kong what it decided.
func (c *conn) handle(sequence int64, instance int32, phase string) error {
	r, ok := c.server.instances.use(instance)
	if !ok {
		// Kong starts the instance anew and runs the event again.
		return fmt.Errorf("no plugin instance %d", instance)
	}
	defer r.done()
	started := c.server.config.Now()
	r.lastUsed.Store(started.UnixNano())
	c.begin(sequence)
	verdict := c.run(r, phase == c.server.plugin.Phase)
	if !c.watch.Stop() && verdict == Continue {
		verdict = Undecided // overrule may be about to write, and must not hit the next event
	}
	err := c.finish(sequence, verdict)
	if errors.Is(err, errEnded) {
		verdict = Undecided // or decided too late
	}
	c.server.metrics.observe(verdict, c.server.config.Now().Sub(started))
	return err
}

// run calls the handler; a panic is no decision.
func (c *conn) run(r *running, known bool) (verdict Verdict) {
	defer func() {
		if p := recover(); p != nil {
			verdict = Undecided
			c.server.metrics.panics.Inc()
			c.server.log.ErrorContext(c.ctx, "handler panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		}
	}()
	if !known {
		c.server.log.ErrorContext(c.ctx, "event of a phase the plugin does not handle")
		return Undecided
	}
	c.server.relay.tell(&c.event)
	return r.Handle(c.ctx, &c.event)
}

// finish tells Kong.
func (c *conn) finish(sequence int64, verdict Verdict) error {
	c.mu.Lock()
	c.busy = false
	c.mu.Unlock()
	switch verdict {
	case Continue:
		c.wire.out = appendReturn(c.wire.out[:0], sequence)
		return c.wire.send()
	case Exited:
		return errExited
	default:
		if err := c.wire.end(c.server.plugin.Fallback.framesFor(sequence)); err != nil {
			return err
		}
		return errEnded
	}
}

func (c *conn) begin(sequence int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.sequence = true, sequence
	if c.watch == nil {
		c.watch = time.AfterFunc(c.server.config.HandlerTimeout, c.overrule)
	} else {
		c.watch.Reset(c.server.config.HandlerTimeout) // it was stopped in time, or this connection had ended
	}
	if c.draining {
		_ = c.wire.conn.SetReadDeadline(time.Time{}) // it may have been closed
	}
}

// overrule has the last word on an event whose handler runs too long. The
// fallback's frames may be written while Kong still works on a call: it reads
// them when it has replied.
func (c *conn) overrule() {
	c.mu.Lock()
	sequence := c.sequence
	c.mu.Unlock()
	// The handler may be writing to a Kong that does not read.
	_ = c.wire.conn.SetWriteDeadline(time.Now().Add(lingering))
	if err := c.wire.end(c.server.plugin.Fallback.framesFor(sequence)); !errors.Is(err, errEnded) {
		c.server.metrics.overruled.Inc()
		c.server.log.ErrorContext(c.ctx, "handler ran too long", slog.Duration("limit", c.server.config.HandlerTimeout))
	}
	c.cancel()
	c.closeWrite()
	time.AfterFunc(lingering, func() { _ = c.wire.conn.Close() }) // also when the handler never returns
}

// linger lets Kong take what was written last and write what it still owes;
// closing at once could make its write fail.
func (c *conn) linger() {
	c.closeWrite()
	if c.wire.conn.SetReadDeadline(time.Now().Add(lingering)) == nil {
		_, _ = io.Copy(io.Discard, c.wire.conn) // nothing in it is wanted
	}
}

func (c *conn) closeWrite() {
	if half, ok := c.wire.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // it may have been closed
	}
}

// drain ends the connection after the event that runs, or soon when none does:
// a call that Kong has just sent is still answered.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if !c.busy {
		_ = c.wire.conn.SetReadDeadline(time.Now().Add(c.server.config.DrainIdle)) // it may have been closed
	}
}

func (c *conn) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}
