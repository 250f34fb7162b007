package pluginserver

import (
	"fmt"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// The functions of Kong's PDK that the plugins call. go-pdk's own allocate twice as
// much and write a call in four parts; FuzzCalls compares what is sent.

// RequestHeader returns the first value of a header of the request, "" when there
// is none. Bytes that are not UTF-8 are an error.
func (e *Event) RequestHeader(name string) (string, error) {
	return e.header("kong.request.get_header", name)
}

// SetServiceHeader sets a header of the request to the service, in place of any
// other of that name.
func (e *Event) SetServiceHeader(name, value string) error {
	return e.setHeader("kong.service.request.set_header", name, value)
}

// ServiceStatus returns the status of the service's response.
func (e *Event) ServiceStatus() (int, error) {
	var status kong_plugin_protocol.Int
	err := e.call("kong.service.response.get_status", nil, &status)
	return int(status.GetV()), err
}

// ServiceHeader is RequestHeader for the service's response.
func (e *Event) ServiceHeader(name string) (string, error) {
	return e.header("kong.service.response.get_header", name)
}

// ServiceBody returns the body of the service's response.
func (e *Event) ServiceBody() ([]byte, error) {
	var body kong_plugin_protocol.RawBodyResult
	err := e.call("kong.service.response.get_raw_body", nil, &body)
	return body.GetContent(), err
}

// SetHeader sets a header of the response to the client, in place of any other of
// that name.
func (e *Event) SetHeader(name, value string) error {
	return e.setHeader(methodSetHeader, name, value)
}

// log writes a line into Kong's log. level is err or warn.
func (e *Event) log(level, text string) error {
	return e.call("kong.log."+level, &structpb.ListValue{Values: []*structpb.Value{structpb.NewStringValue(text)}}, nil)
}

func (e *Event) header(method, name string) (string, error) {
	var value kong_plugin_protocol.String
	err := e.call(method, &kong_plugin_protocol.String{V: name}, &value)
	return value.GetV(), err
}

func (e *Event) setHeader(method, name, value string) error {
	return e.call(method, &kong_plugin_protocol.KV{K: name, V: structpb.NewStringValue(value)}, nil)
}

// call makes one call. args may be nil. The reply is read into result unless that
// is nil.
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
