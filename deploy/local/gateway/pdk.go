package gateway

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// pdk answers what a plugin asks of Kong during one event.
type pdk struct {
	exchange *exchange
	phase    string
}

// method is one function of Kong's PDK.
type method struct {
	// phase is the only one the function may be called in, or "" for any.
	phase string
	run   func(e *exchange, args []byte) (proto.Message, error)
}

// methods are the functions of Kong's PDK that the stand-in has: those that the
// project's plugins call.
var methods = map[string]method{
	"kong.request.get_header":            {run: getHeader(func(e *exchange) http.Header { return e.upstream })},
	"kong.service.response.get_header":   {phase: "response", run: getHeader(func(e *exchange) http.Header { return e.answer.header })},
	"kong.service.request.set_header":    {phase: "access", run: setHeader(func(e *exchange) http.Header { return e.upstream })},
	"kong.service.response.get_status":   {phase: "response", run: getStatus},
	"kong.service.response.get_raw_body": {phase: "response", run: getRawBody},
	"kong.response.set_header":           {run: setHeader(func(e *exchange) http.Header { return e.downstream })},
}

// call runs one function. An error is what a Lua error is to Kong.
func (p *pdk) call(name string, args []byte) (proto.Message, error) {
	if level, ok := strings.CutPrefix(name, "kong.log."); ok {
		return nil, p.log(level, args)
	}
	m, ok := methods[name]
	if !ok {
		return nil, fmt.Errorf("method %q not found", name)
	}
	if m.phase != "" && m.phase != p.phase {
		return nil, fmt.Errorf("function cannot be called in %s phase (only in: %s): %s", p.phase, m.phase, name)
	}
	return m.run(p.exchange, args)
}

// log takes over what a plugin logs through Kong.
func (p *pdk) log(level string, args []byte) error {
	var list structpb.ListValue
	if err := proto.Unmarshal(args, &list); err != nil {
		return fmt.Errorf("decode log arguments: %w", err)
	}
	parts := make([]string, 0, len(list.GetValues()))
	for _, v := range list.GetValues() {
		parts = append(parts, fmt.Sprint(v.AsInterface()))
	}
	p.exchange.gateway.log.Log(p.exchange.request.Context(), levelOf(level), "a plugin logs",
		"text", strings.Join(parts, ""), "request_id", p.exchange.id)
	return nil
}

func levelOf(kong string) slog.Level {
	switch kong {
	case "alert", "crit", "err":
		return slog.LevelError
	case "warn":
		return slog.LevelWarn
	case "debug":
		return slog.LevelDebug
	default:
		return slog.LevelInfo
	}
}

// getHeader answers the first of several values, and "" for none. One that is
// not UTF-8 goes out as it is, as Kong sends it; ByteString and String look the
// same on the wire.
func getHeader(of func(*exchange) http.Header) func(*exchange, []byte) (proto.Message, error) {
	return func(e *exchange, args []byte) (proto.Message, error) {
		var name kong_plugin_protocol.String
		if err := proto.Unmarshal(args, &name); err != nil {
			return nil, fmt.Errorf("decode header name: %w", err)
		}
		return &kong_plugin_protocol.ByteString{V: []byte(of(e).Get(name.GetV()))}, nil
	}
}

func setHeader(of func(*exchange) http.Header) func(*exchange, []byte) (proto.Message, error) {
	return func(e *exchange, args []byte) (proto.Message, error) {
		var kv kong_plugin_protocol.KV
		if err := proto.Unmarshal(args, &kv); err != nil {
			return nil, fmt.Errorf("decode header: %w", err)
		}
		value, ok := kv.GetV().AsInterface().(string)
		if !ok {
			return nil, fmt.Errorf("header %s: expected a string", kv.GetK())
		}
		of(e).Set(kv.GetK(), value)
		return nil, nil //nolint:nilnil // an empty reply
	}
}

func getStatus(e *exchange, _ []byte) (proto.Message, error) {
	return &kong_plugin_protocol.Int{V: int32(e.answer.status)}, nil //nolint:gosec // G115: an HTTP status
}

func getRawBody(e *exchange, _ []byte) (proto.Message, error) {
	return &kong_plugin_protocol.RawBodyResult{Kind: &kong_plugin_protocol.RawBodyResult_Content{Content: e.serviceRaw}}, nil
}
