package pluginserver

import (
	"encoding/binary"
	"fmt"

	"github.com/Kong/go-pdk/bridge"
	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	methodExit      = "kong.response.exit"
	methodSetHeader = "kong.response.set_header"
)

// Response is a whole response to a client, encoded once. Make it with
// NewResponse; the zero value cannot be sent.
type Response struct{ frames []byte }

// NewResponse encodes a response. A nil header means no Content-Type; what
// cannot be encoded, such as a header that is not UTF-8, is a programming error
// and panics.
func NewResponse(status int, header map[string][]string, body []byte) Response {
	args := &kong_plugin_protocol.ExitArgs{Status: int32(status), Body: body} //nolint:gosec // G115: an HTTP status has three digits.
	if header != nil {
		wrapped, err := bridge.WrapHeaders(header)
		if err != nil {
			panic(fmt.Errorf("encode headers of a response: %w", err))
		}
		args.Headers = wrapped
	}
	return Response{frames: callFrames(methodExit, args)}
}

// Fallback is the one PDK call that answers for a handler which cannot. Make
// it with ExitFallback or HeaderFallback.
type Fallback struct {
	frames []byte
	exits  bool
}

// ExitFallback answers the client in place of the handler: fail closed.
func ExitFallback(r Response) Fallback { return Fallback{frames: r.frames, exits: true} }

// HeaderFallback lets the response pass with one header set. What cannot be
// encoded is a programming error and panics.
func HeaderFallback(name, value string) Fallback {
	return Fallback{frames: callFrames(methodSetHeader, &kong_plugin_protocol.KV{K: name, V: structpb.NewStringValue(value)})}
}

// framesFor is everything that is to be written for the event of this sequence
// number; it ends the connection.
func (f Fallback) framesFor(sequence int64) []byte {
	if f.exits {
		return f.frames
	}
	return appendReturn(append([]byte(nil), f.frames...), sequence)
}

func callFrames(method string, args proto.Message) []byte {
	frames, err := appendMessage(appendFrame(nil, []byte(method)), args)
	if err != nil {
		panic(fmt.Errorf("encode %s: %w", method, err))
	}
	return frames
}

func appendFrame(out, frame []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(out, uint32(len(frame))), frame...) //nolint:gosec // G115: frames are far below 4 GiB.
}

// appendMessage appends a message as a frame; nil is an empty one.
func appendMessage(out []byte, m proto.Message) ([]byte, error) {
	at := len(out)
	out, err := proto.MarshalOptions{}.MarshalAppend(appendFrame(out, nil), m)
	if err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint32(out[at:], uint32(len(out)-at-headerSize)) //nolint:gosec // G115: frames are far below 4 GiB.
	return out, nil
}

// appendReturn appends what ends an event: an empty frame, and an RpcReturn
// that holds only its sequence number.
func appendReturn(out []byte, sequence int64) []byte {
	out, err := appendMessage(appendFrame(out, nil), &kong_plugin_protocol.RpcReturn{Sequence: sequence})
	if err != nil {
		panic(fmt.Errorf("encode a return: %w", err)) // a number can always be encoded
	}
	return out
}
