package kongwire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
)

const methodExit = "kong.response.exit"

// ErrClosed reports that the plugin ended the connection in the middle of a
// call. Kong then starts the instance anew and runs the event again. A
// connection that is reset, cannot be made or cannot be written to is another
// error, and a 500, as in Kong: it runs again what failed as "closed" alone
// (kong/runloop/plugin_servers/rpc/pb_rpc.lua, handle_event).
var ErrClosed = errors.New("the plugin closed the connection")

var errNoPDK = errors.New("no PDK is given")

// PDK answers the calls of a plugin during one event. args is the call's
// encoded message; a nil message is an empty reply. An error is what a Lua
// error is to Kong: the event ends, the client gets a 500. kong.response.exit
// never gets here.
//
// A header value of bytes that are not UTF-8 is answered with a ByteString:
// Kong sends such a string as it is, and the two look alike on the wire.
type PDK func(method string, args []byte) (proto.Message, error)

// Result is how an event ended.
type Result struct {
	// Exit is the response with which the plugin ended the request; nil when
	// the request goes on.
	Exit *Exit
}

// Exit is a plugin's own response.
type Exit struct {
	Status int
	Header map[string][]string // nil when the plugin gave none
	Body   []byte
}

// Client makes calls over pooled connections. It is safe for concurrent use.
type Client struct {
	pool     *pool
	sequence atomic.Int64
}

// NewClient returns a client for the plugin at this unix socket. It connects
// when first used.
func NewClient(socket string) *Client { return &Client{pool: newPool(socket)} }

// Close closes the idle connections.
func (c *Client) Close() { c.pool.close() }

// StartInstance starts an instance with the plugin's configuration as JSON,
// and returns the number the plugin knows it by.
func (c *Client) StartInstance(ctx context.Context, plugin string, config []byte) (int32, error) {
	ret, _, err := c.call(ctx, &kong_plugin_protocol.RpcCall{Call: &kong_plugin_protocol.RpcCall_CmdStartInstance{
		CmdStartInstance: &kong_plugin_protocol.CmdStartInstance{Name: plugin, Config: config},
	}}, nil)
	if err != nil {
		return 0, fmt.Errorf("start instance of %s: %w", plugin, err)
	}
	return ret.GetInstanceStatus().GetInstanceId(), nil
}

// CloseInstance closes an instance.
func (c *Client) CloseInstance(ctx context.Context, id int32) error {
	_, _, err := c.call(ctx, &kong_plugin_protocol.RpcCall{Call: &kong_plugin_protocol.RpcCall_CmdCloseInstance{
		CmdCloseInstance: &kong_plugin_protocol.CmdCloseInstance{InstanceId: id},
	}}, nil)
	if err != nil {
		return fmt.Errorf("close instance %d: %w", id, err)
	}
	return nil
}

// HandleEvent runs one event, once. The error wraps ErrClosed when the plugin
// ended the connection instead of answering, as it does for an instance it
// does not know.
func (c *Client) HandleEvent(ctx context.Context, instance int32, phase string, pdk PDK) (Result, error) {
	if pdk == nil {
		pdk = func(string, []byte) (proto.Message, error) { return nil, errNoPDK }
	}
	_, exit, err := c.call(ctx, &kong_plugin_protocol.RpcCall{Call: &kong_plugin_protocol.RpcCall_CmdHandleEvent{
		CmdHandleEvent: &kong_plugin_protocol.CmdHandleEvent{InstanceId: instance, EventName: phase},
	}}, pdk)
	if err != nil {
		return Result{}, fmt.Errorf("handle %s event: %w", phase, err)
	}
	return Result{Exit: exit}, nil
}

// call makes one call; with a PDK it answers the plugin's calls first.
func (c *Client) call(ctx context.Context, m *kong_plugin_protocol.RpcCall, pdk PDK) (*kong_plugin_protocol.RpcReturn, *Exit, error) {
	conn, err := c.pool.get(ctx)
	if err != nil {
		return nil, nil, err
	}
	keep := false
	defer func() { c.pool.put(conn, keep) }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // ends what waits
	defer func() { keep = stop() && keep }()

	m.Sequence = c.sequence.Add(1)
	encoded, err := proto.Marshal(m)
	if err != nil {
		return nil, nil, err
	}
	if err := WriteFrame(conn, encoded); err != nil {
		return nil, nil, err
	}
	if pdk != nil {
		exit, err := conn.bridge(pdk)
		if exit != nil || err != nil {
			return nil, exit, closedError(ctx, err)
		}
	}
	ret, err := conn.readReturn(m.GetSequence())
	if err != nil {
		return nil, nil, closedError(ctx, err)
	}
	keep = true
	return ret, nil, nil
}

func closedError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}

// connection is one connection to the plugin.
type connection struct {
	net.Conn
	reader *bufio.Reader
}

// bridge answers the plugin's calls until the empty frame or an exit.
func (c *connection) bridge(pdk PDK) (*Exit, error) {
	for {
		method, err := ReadFrame(c.reader)
		if err != nil || len(method) == 0 {
			return nil, err
		}
		args, err := ReadFrame(c.reader)
		if err != nil {
			return nil, err
		}
		if string(method) == methodExit {
			return parseExit(args)
		}
		if err := c.reply(pdk, string(method), args); err != nil {
			return nil, err
		}
	}
}

func (c *connection) reply(pdk PDK, method string, args []byte) error {
	answer, err := pdk(method, args)
	if err != nil {
		return fmt.Errorf("answer %s: %w", method, err)
	}
	var encoded []byte
	if answer != nil {
		if encoded, err = proto.Marshal(answer); err != nil {
			return fmt.Errorf("encode answer of %s: %w", method, err)
		}
	}
	return WriteFrame(c, encoded)
}

func (c *connection) readReturn(sequence int64) (*kong_plugin_protocol.RpcReturn, error) {
	frame, err := ReadFrame(c.reader)
	if err != nil {
		return nil, err
	}
	var ret kong_plugin_protocol.RpcReturn
	if err := proto.Unmarshal(frame, &ret); err != nil {
		return nil, fmt.Errorf("decode return: %w", err)
	}
	if ret.GetSequence() != sequence {
		return nil, fmt.Errorf("return has sequence %d, want %d", ret.GetSequence(), sequence)
	}
	return &ret, nil
}

func parseExit(args []byte) (*Exit, error) {
	var m kong_plugin_protocol.ExitArgs
	if err := proto.Unmarshal(args, &m); err != nil {
		return nil, fmt.Errorf("decode exit: %w", err)
	}
	exit := &Exit{Status: int(m.GetStatus()), Body: m.GetBody()}
	if m.GetHeaders() == nil {
		return exit, nil
	}
	exit.Header = map[string][]string{}
	for name, v := range m.GetHeaders().AsMap() {
		switch v := v.(type) {
		case string:
			exit.Header[name] = []string{v}
		case []any:
			for _, item := range v {
				exit.Header[name] = append(exit.Header[name], fmt.Sprint(item))
			}
		}
	}
	return exit, nil
}
