package pluginserver

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// The two calls of an accepted request are made here, not by the PDK: it
// allocates a dozen times for each, and reads a length by reflection. What goes
// over the wire is the same; see the fuzz target that compares the two.
const (
	methodGetHeader        = "kong.request.get_header"
	methodSetServiceHeader = "kong.service.request.set_header"
)

var errNotUTF8 = errors.New("string is not UTF-8")

// RequestHeader is Kong.Request.GetHeader: the first value of a header of the
// request, "" when there is none. Bytes that are not UTF-8 are an error.
func (e *Event) RequestHeader(name string) (string, error) {
	if !utf8.ValidString(name) {
		return "", fmt.Errorf("%s: %w", methodGetHeader, errNotUTF8)
	}
	out := appendMethod(e.wire.out[:0], methodGetHeader, sizeString(name))
	e.wire.out = appendString(out, 1, name)
	reply, err := e.wire.ask()
	if err != nil {
		return "", fmt.Errorf("%s: %w", methodGetHeader, err)
	}
	return parseString(reply)
}

// SetServiceHeader is Kong.ServiceRequest.SetHeader: it sets a header of the
// request to the service, in place of any other of that name.
func (e *Event) SetServiceHeader(name, value string) error {
	if !utf8.ValidString(name) || !utf8.ValidString(value) {
		return fmt.Errorf("%s: %w", methodSetServiceHeader, errNotUTF8)
	}
	// A KV of the name and a google.protobuf.Value that is a string.
	const stringValue = 3
	inner := protowire.SizeTag(stringValue) + protowire.SizeBytes(len(value))
	size := sizeString(name) + protowire.SizeTag(2) + protowire.SizeBytes(inner)
	out := appendMethod(e.wire.out[:0], methodSetServiceHeader, size)
	out = appendString(out, 1, name)
	out = protowire.AppendTag(out, 2, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(inner)) //nolint:gosec // G115: a length.
	out = protowire.AppendTag(out, stringValue, protowire.BytesType)
	e.wire.out = protowire.AppendString(out, value)
	if _, err := e.wire.ask(); err != nil {
		return fmt.Errorf("%s: %w", methodSetServiceHeader, err)
	}
	return nil
}

// appendMethod begins a call: the frame of the method, and the length of that
// of its arguments, which have size bytes.
func appendMethod(out []byte, method string, size int) []byte {
	out = appendLength(out, len(method))
	out = append(out, method...)
	return appendLength(out, size)
}

// sizeString is the size of a string in field 1; proto3 leaves out an empty one.
func sizeString(s string) int {
	if s == "" {
		return 0
	}
	return protowire.SizeTag(1) + protowire.SizeBytes(len(s))
}

func appendString(out []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return out
	}
	return protowire.AppendString(protowire.AppendTag(out, field, protowire.BytesType), s)
}

// parseString reads a kong_plugin_protocol.String. All but the usual, one field
// and nothing else, is left to the protobuf library.
func parseString(message []byte) (string, error) {
	if len(message) == 0 {
		return "", nil
	}
	number, kind, n := protowire.ConsumeTag(message)
	if n > 0 && number == 1 && kind == protowire.BytesType {
		value, m := protowire.ConsumeBytes(message[n:])
		if m == len(message)-n && utf8.Valid(value) {
			return string(value), nil
		}
	}
	var s kong_plugin_protocol.String
	if err := proto.Unmarshal(message, &s); err != nil {
		return "", fmt.Errorf("decode reply: %w", err)
	}
	return s.GetV(), nil
}
