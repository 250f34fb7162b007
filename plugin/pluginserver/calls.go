package pluginserver

import (
	"fmt"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// The two calls of an accepted request are made here, not by the PDK, which
// allocates twice as much for each and reads a length by reflection.
const (
	methodGetHeader        = "kong.request.get_header"
	methodSetServiceHeader = "kong.service.request.set_header"
)

// RequestHeader is Kong.Request.GetHeader: the first value of a header of the
// request, "" when there is none. Bytes that are not UTF-8 are an error.
func (e *Event) RequestHeader(name string) (string, error) {
	var value kong_plugin_protocol.String
	if err := e.call(methodGetHeader, &kong_plugin_protocol.String{V: name}, &value); err != nil {
		return "", err
	}
	return value.GetV(), nil
}

// SetServiceHeader is Kong.ServiceRequest.SetHeader: it sets a header of the
// request to the service, in place of any other of that name.
func (e *Event) SetServiceHeader(name, value string) error {
	return e.call(methodSetServiceHeader, &kong_plugin_protocol.KV{K: name, V: structpb.NewStringValue(value)}, nil)
}

// call makes one PDK call. The reply is read into result unless that is nil.
func (e *Event) call(method string, args, result proto.Message) error {
	out := appendFrame(e.wire.out[:0], []byte(method))
	out, err := appendMessage(out, args)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	e.wire.out = out
	reply, err := e.wire.ask()
	if err == nil && result != nil {
		err = proto.Unmarshal(reply, result)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}
