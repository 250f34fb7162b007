package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// bundled are the plugins of Kong's own that the stand-in does itself.
var bundled = map[string]func(b *builder, where string, config map[string]any) handler{
	"correlation-id":        correlationID,
	"request-size-limiting": requestSizeLimiting,
	"rate-limiting":         rateLimiting,
	"pre-function":          preFunction,
	"cors":                  cors,
}

// read decodes a plugin's config. A field that the stand-in does not know is a
// fault.
func read(b *builder, where string, config map[string]any, into any) {
	text, err := json.Marshal(config)
	if err == nil {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		err = decoder.Decode(into)
	}
	if err != nil {
		b.fault("%sin 'config': the stand-in cannot take it: %w", where, err)
	}
}

// correlationID gives every request an id, unless the client brought one.
func correlationID(b *builder, where string, given map[string]any) handler {
	var config struct {
		HeaderName     string `json:"header_name"`
		Generator      string `json:"generator"`
		EchoDownstream bool   `json:"echo_downstream"`
	}
	read(b, where, given, &config)
	if config.HeaderName == "" || config.Generator != "uuid" {
		b.fault("%sin 'config': the stand-in wants a header_name and generator: uuid", where)
	}
	name := http.CanonicalHeaderKey(config.HeaderName)
	h := handler{priority: 100001}
	h.access = func(_ context.Context, e *exchange) error {
		if e.upstream.Get(name) == "" {
			e.upstream.Set(name, uuid())
		}
		e.correlationID = e.upstream.Get(name)
		return nil
	}
	if config.EchoDownstream {
		h.header = func(e *exchange, header http.Header) { header.Set(name, e.correlationID) }
	}
	return h
}

// uuid is a random UUID, version 4 (RFC 9562 section 5.4).
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// requestSizeLimiting refuses bodies over a size.
func requestSizeLimiting(b *builder, where string, given map[string]any) handler {
	var config struct {
		AllowedPayloadSize   int    `json:"allowed_payload_size"`
		SizeUnit             string `json:"size_unit"`
		RequireContentLength bool   `json:"require_content_length"`
	}
	read(b, where, given, &config)
	factor, known := map[string]int{"bytes": 1, "kilobytes": 1 << 10, "megabytes": 1 << 20}[config.SizeUnit]
	if !known || config.RequireContentLength {
		b.fault("%sin 'config': the stand-in wants a size_unit, and no require_content_length", where)
	}
	access := func(_ context.Context, e *exchange) error {
		if len(e.body) > config.AllowedPayloadSize*factor {
			e.exit = e.failure(http.StatusRequestEntityTooLarge, "Request size limit exceeded")
		}
		return nil
	}
	return handler{priority: 951, access: access}
}

// rateLimiting counts requests by address in fixed windows of a minute, in
// memory: Kong's policy local, limit_by ip.
func rateLimiting(b *builder, where string, given map[string]any) handler {
	var config struct {
		Minute            int    `json:"minute"`
		Policy            string `json:"policy"`
		LimitBy           string `json:"limit_by"`
		FaultTolerant     bool   `json:"fault_tolerant"` // memory does not fail
		HideClientHeaders bool   `json:"hide_client_headers"`
	}
	read(b, where, given, &config)
	if config.Minute <= 0 || config.Policy != "local" || config.LimitBy != "ip" || config.HideClientHeaders {
		b.fault("%sin 'config': the stand-in wants minute, policy: local, limit_by: ip, and no hide_client_headers", where)
	}
	var mu sync.Mutex
	var window time.Time // the minute that used counts
	used := map[string]int{}
	count := func(now time.Time, address string) int {
		mu.Lock()
		defer mu.Unlock()
		if minute := now.Truncate(time.Minute); !minute.Equal(window) {
			window = minute
			clear(used)
		}
		used[address]++
		return used[address]
	}
	access := func(_ context.Context, e *exchange) error {
		now := e.gateway.now()
		remaining := config.Minute - count(now, e.clientIP)
		reset := strconv.Itoa(max(1, 60-now.Second()))
		e.downstream.Set("X-RateLimit-Limit-Minute", strconv.Itoa(config.Minute))
		e.downstream.Set("X-RateLimit-Remaining-Minute", strconv.Itoa(max(0, remaining)))
		e.downstream.Set("RateLimit-Limit", strconv.Itoa(config.Minute))
		e.downstream.Set("RateLimit-Remaining", strconv.Itoa(max(0, remaining)))
		e.downstream.Set("RateLimit-Reset", reset)
		if remaining < 0 {
			e.downstream.Set("Retry-After", reset)
			e.exit = e.failure(http.StatusTooManyRequests, "API rate limit exceeded")
		}
		return nil
	}
	return handler{priority: 910, access: access}
}

// clearHeader is the one function that the stand-in understands of Lua.
var clearHeader = regexp.MustCompile(`^kong\.service\.request\.clear_header\("([a-zA-Z0-9_-]+)"\)$`)

// preFunction removes headers; other Lua has no effect here.
func preFunction(b *builder, where string, given map[string]any) handler {
	var config struct {
		Access []string `json:"access"`
	}
	read(b, where, given, &config)
	var names []string
	for _, code := range config.Access {
		found := clearHeader.FindStringSubmatch(strings.TrimSpace(code))
		if found == nil {
			b.skip("plugin pre-function: the Lua of config.access")
			continue
		}
		names = append(names, found[1])
	}
	access := func(_ context.Context, e *exchange) error {
		for _, name := range names {
			e.upstream.Del(name)
		}
		return nil
	}
	return handler{priority: 1_000_000, access: access}
}

// cors answers preflights and says which origins may read an answer. An origin
// is one as browsers send it, not an expression.
func cors(b *builder, where string, given map[string]any) handler {
	var config struct {
		Origins        []string `json:"origins"`
		Methods        []string `json:"methods"`
		Headers        []string `json:"headers"`
		ExposedHeaders []string `json:"exposed_headers"`
		MaxAge         int      `json:"max_age"`
		Credentials    bool     `json:"credentials"`
	}
	read(b, where, given, &config)
	allow := func(e *exchange, header http.Header) {
		header.Add("Vary", "Origin")
		origin := e.request.Header.Get("Origin")
		if len(config.Origins) == 1 {
			origin = config.Origins[0] // Kong does not look at the request's then
		}
		if slices.Contains(config.Origins, origin) {
			header.Set("Access-Control-Allow-Origin", origin)
		}
		if config.Credentials {
			header.Set("Access-Control-Allow-Credentials", "true")
		}
	}
	preflight := func(e *exchange) bool {
		asked := e.request.Header
		return e.request.Method == http.MethodOptions && asked.Get("Origin") != "" && asked.Get("Access-Control-Request-Method") != ""
	}
	return handler{
		priority: 2000,
		access: func(_ context.Context, e *exchange) error {
			if !preflight(e) {
				return nil
			}
			header := http.Header{
				"Access-Control-Allow-Methods": {strings.Join(config.Methods, ",")}, "Access-Control-Max-Age": {strconv.Itoa(config.MaxAge)},
				"Access-Control-Allow-Headers": {strings.Join(config.Headers, ",")},
			}
			allow(e, header)
			e.exit = newReply(http.StatusOK, header, nil)
			return nil
		},
		header: func(e *exchange, header http.Header) {
			if preflight(e) {
				return
			}
			allow(e, header)
			header.Set("Access-Control-Expose-Headers", strings.Join(config.ExposedHeaders, ","))
		},
	}
}
