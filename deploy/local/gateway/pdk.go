package gateway

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

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

// methods are the functions of Kong's PDK that the stand-in has.
var methods = map[string]method{
	"kong.client.get_ip":           {run: get(func(e *exchange) string { return e.clientIP })},
	"kong.client.get_forwarded_ip": {run: get(func(e *exchange) string { return e.clientIP })},
	"kong.request.get_method":      {run: get(func(e *exchange) string { return e.request.Method })},
	"kong.request.get_path":        {run: get(func(e *exchange) string { return e.path })},
	"kong.request.get_raw_query":   {run: get(func(e *exchange) string { return e.request.URL.RawQuery })},
	"kong.request.get_host":        {run: get(func(e *exchange) string { return hostname(e.request.Host) })},
	"kong.request.get_scheme":      {run: get(func(*exchange) string { return "http" })},
	"kong.request.get_header":      {run: getHeader(func(e *exchange) http.Header { return e.upstream })},
	"kong.request.get_headers":     {run: getHeaders(func(e *exchange) http.Header { return e.upstream })},

	"kong.service.request.set_header":   {phase: "access", run: setHeader(func(e *exchange) http.Header { return e.upstream })},
	"kong.service.request.add_header":   {phase: "access", run: addHeader(func(e *exchange) http.Header { return e.upstream })},
	"kong.service.request.set_headers":  {phase: "access", run: setHeaders(func(e *exchange) http.Header { return e.upstream })},
	"kong.service.request.clear_header": {phase: "access", run: clearHeader(func(e *exchange) http.Header { return e.upstream })},

	"kong.service.response.get_status":  {phase: "response", run: func(e *exchange, _ []byte) (proto.Message, error) { return integer(e.service.status), nil }},
	"kong.service.response.get_header":  {phase: "response", run: getHeader(func(e *exchange) http.Header { return e.service.header })},
	"kong.service.response.get_headers": {phase: "response", run: getHeaders(func(e *exchange) http.Header { return e.service.header })},
	"kong.service.response.get_raw_body": {phase: "response", run: func(e *exchange, _ []byte) (proto.Message, error) {
		return &kong_plugin_protocol.ByteString{V: e.serviceRaw}, nil
	}},

	"kong.response.get_status":   {phase: "response", run: func(e *exchange, _ []byte) (proto.Message, error) { return integer(e.answer.status), nil }},
	"kong.response.get_header":   {phase: "response", run: getHeader(func(e *exchange) http.Header { return e.downstream })},
	"kong.response.get_headers":  {phase: "response", run: getHeaders(func(e *exchange) http.Header { return e.downstream })},
	"kong.response.set_status":   {phase: "response", run: setStatus},
	"kong.response.set_header":   {run: setHeader(func(e *exchange) http.Header { return e.downstream })},
	"kong.response.add_header":   {run: addHeader(func(e *exchange) http.Header { return e.downstream })},
	"kong.response.set_headers":  {run: setHeaders(func(e *exchange) http.Header { return e.downstream })},
	"kong.response.clear_header": {run: clearHeader(func(e *exchange) http.Header { return e.downstream })},
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

type headerOf func(*exchange) http.Header

func get(f func(*exchange) string) func(*exchange, []byte) (proto.Message, error) {
	return func(e *exchange, _ []byte) (proto.Message, error) { return text(f(e)), nil }
}

// text is a string for the plugin. One that is not UTF-8 goes out as it is, as
// Kong sends it; ByteString and String look the same on the wire.
func text(s string) proto.Message {
	if !utf8.ValidString(s) {
		return &kong_plugin_protocol.ByteString{V: []byte(s)}
	}
	return &kong_plugin_protocol.String{V: s}
}

func integer(n int) proto.Message {
	return &kong_plugin_protocol.Int{V: int32(n)} //nolint:gosec // an HTTP status
}

// getHeader answers the first of several values, and "" for none.
func getHeader(of headerOf) func(*exchange, []byte) (proto.Message, error) {
	return func(e *exchange, args []byte) (proto.Message, error) {
		var name kong_plugin_protocol.String
		if err := proto.Unmarshal(args, &name); err != nil {
			return nil, fmt.Errorf("decode header name: %w", err)
		}
		if strings.EqualFold(name.GetV(), "Host") {
			return text(e.request.Host), nil
		}
		return text(of(e).Get(name.GetV())), nil
	}
}

func getHeaders(of headerOf) func(*exchange, []byte) (proto.Message, error) {
	return func(e *exchange, _ []byte) (proto.Message, error) {
		all := map[string]any{}
		for name, values := range of(e) {
			list := make([]any, len(values))
			for i, v := range values {
				list[i] = strings.ToValidUTF8(v, "\uFFFD")
			}
			if len(list) == 1 {
				all[strings.ToLower(name)] = list[0]
			} else {
				all[strings.ToLower(name)] = list
			}
		}
		return structpb.NewStruct(all)
	}
}

func setHeader(of headerOf) func(*exchange, []byte) (proto.Message, error) {
	return changeHeader(of, func(h http.Header, name, value string) { h.Set(name, value) })
}

func addHeader(of headerOf) func(*exchange, []byte) (proto.Message, error) {
	return changeHeader(of, func(h http.Header, name, value string) { h.Add(name, value) })
}

func changeHeader(of headerOf, change func(h http.Header, name, value string)) func(*exchange, []byte) (proto.Message, error) {
	return func(e *exchange, args []byte) (proto.Message, error) {
		var kv kong_plugin_protocol.KV
		if err := proto.Unmarshal(args, &kv); err != nil {
			return nil, fmt.Errorf("decode header: %w", err)
		}
		value, err := scalar(kv.GetV().AsInterface())
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", kv.GetK(), err)
		}
		change(of(e), kv.GetK(), value)
		return nil, nil //nolint:nilnil // an empty reply
	}
}

func setHeaders(of headerOf) func(*exchange, []byte) (proto.Message, error) {
	return func(e *exchange, args []byte) (proto.Message, error) {
		var all structpb.Struct
		if err := proto.Unmarshal(args, &all); err != nil {
			return nil, fmt.Errorf("decode headers: %w", err)
		}
		for name, v := range all.AsMap() {
			list, ok := v.([]any)
			if !ok {
				list = []any{v}
			}
			of(e).Del(name)
			for _, item := range list {
				value, err := scalar(item)
				if err != nil {
					return nil, fmt.Errorf("header %s: %w", name, err)
				}
				of(e).Add(name, value)
			}
		}
		return nil, nil //nolint:nilnil // an empty reply
	}
}

func clearHeader(of headerOf) func(*exchange, []byte) (proto.Message, error) {
	return func(e *exchange, args []byte) (proto.Message, error) {
		var name kong_plugin_protocol.String
		if err := proto.Unmarshal(args, &name); err != nil {
			return nil, fmt.Errorf("decode header name: %w", err)
		}
		of(e).Del(name.GetV())
		return nil, nil //nolint:nilnil // an empty reply
	}
}

func setStatus(e *exchange, args []byte) (proto.Message, error) {
	var status kong_plugin_protocol.Int
	if err := proto.Unmarshal(args, &status); err != nil {
		return nil, fmt.Errorf("decode status: %w", err)
	}
	if status.GetV() < 100 || status.GetV() > 599 {
		return nil, fmt.Errorf("code must be a number between 100 and 599: %d", status.GetV())
	}
	e.answer.status = int(status.GetV())
	return nil, nil //nolint:nilnil // an empty reply
}

// scalar is a header's value as Kong accepts it: a string, a number or a
// boolean.
func scalar(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", fmt.Errorf("expected a string, number or boolean, not %T", v)
}

func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}
