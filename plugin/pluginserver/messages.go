package pluginserver

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/Kong/go-pdk/bridge"
	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/encoding/protowire"
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
	encoded, err := proto.Marshal(args)
	if err != nil {
		panic(fmt.Errorf("encode %s: %w", method, err))
	}
	return appendFrame(appendFrame(nil, []byte(method)), encoded)
}

func appendFrame(out, frame []byte) []byte {
	return append(appendLength(out, len(frame)), frame...)
}

func appendLength(out []byte, n int) []byte {
	return binary.LittleEndian.AppendUint32(out, uint32(n)) //nolint:gosec // G115: frames are far below 4 GiB.
}

// appendReturn appends what ends an event: an empty frame, and an RpcReturn
// that holds only its sequence number, field 1.
func appendReturn(out []byte, sequence int64) []byte {
	n := protowire.SizeTag(1) + protowire.SizeVarint(uint64(sequence)) //nolint:gosec // G115: protobuf encodes an int64 this way.
	out = append(out, 0, 0, 0, 0)
	out = binary.LittleEndian.AppendUint32(out, uint32(n)) //nolint:gosec // G115: at most 11.
	out = protowire.AppendTag(out, 1, protowire.VarintType)
	return protowire.AppendVarint(out, uint64(sequence)) //nolint:gosec // G115: protobuf encodes an int64 this way.
}

// eventCall is a cmd_handle_event.
type eventCall struct {
	sequence int64
	instance int32
	phase    []byte
}

// parseEvent reads an RpcCall that holds a cmd_handle_event and nothing
// unusual, without allocating. Whatever else there may be is left to the
// protobuf library; see the fuzz target that compares the two.
func parseEvent(frame []byte) (call eventCall, ok bool) {
	const sequence, handleEvent = 1, 36
	for len(frame) > 0 {
		number, kind, n := protowire.ConsumeTag(frame)
		if n < 0 {
			return call, false
		}
		frame = frame[n:]
		switch {
		case number == sequence && kind == protowire.VarintType:
			v, n := protowire.ConsumeVarint(frame)
			if n < 0 {
				return call, false
			}
			call.sequence, frame = int64(v), frame[n:] //nolint:gosec // G115: protobuf encodes an int64 this way.
		case number == handleEvent && kind == protowire.BytesType && !ok:
			v, n := protowire.ConsumeBytes(frame)
			if n < 0 || !call.parseBody(v) {
				return call, false
			}
			frame, ok = frame[n:], true
		default:
			return call, false
		}
	}
	return call, ok
}

func (call *eventCall) parseBody(body []byte) bool {
	const instanceID, eventName = 1, 2
	for len(body) > 0 {
		number, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return false
		}
		body = body[n:]
		switch {
		case number == instanceID && kind == protowire.VarintType:
			v, n := protowire.ConsumeVarint(body)
			if n < 0 {
				return false
			}
			call.instance, body = int32(v), body[n:] //nolint:gosec // G115: protobuf encodes an int32 this way.
		case number == eventName && kind == protowire.BytesType:
			v, n := protowire.ConsumeBytes(body)
			if n < 0 || !utf8.Valid(v) { // which the library refuses
				return false
			}
			call.phase, body = v, body[n:]
		default:
			return false
		}
	}
	return true
}
