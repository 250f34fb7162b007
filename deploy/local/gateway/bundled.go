package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// correlationID gives every request an id, unless the client brought one.
func correlationID(o *options) handler {
	name := http.CanonicalHeaderKey(take(o, "header_name", "Kong-Request-ID"))
	echo := take(o, "echo_downstream", false)
	if generator := take(o, "generator", "uuid#counter"); generator != "uuid" {
		o.builder.skip("plugin correlation-id: generator " + generator + " (uuid instead)")
	}
	h := handler{priority: 100001}
	h.access = func(_ context.Context, e *exchange) error {
		if e.upstream.Get(name) == "" {
			e.upstream.Set(name, uuid())
		}
		e.correlationID = e.upstream.Get(name)
		return nil
	}
	if echo {
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
func requestSizeLimiting(o *options) handler {
	factor, known := map[string]int{"bytes": 1, "kilobytes": 1 << 10, "megabytes": 1 << 20}[take(o, "size_unit", "megabytes")]
	if !known {
		o.builder.fault("%sin 'size_unit': expected one of: megabytes, kilobytes, bytes", o.where)
	}
	limit := int64(take(o, "allowed_payload_size", 128) * factor)
	lengthRequired := take(o, "require_content_length", false)
	refuse := func(e *exchange) {
		status := http.StatusRequestEntityTooLarge
		if e.request.Header.Get("Expect") == "100-continue" {
			status = http.StatusExpectationFailed
		}
		e.exit = e.failure(status, "Request size limit exceeded")
	}
	access := func(_ context.Context, e *exchange) error {
		switch length := e.request.ContentLength; {
		case length > limit:
			refuse(e)
		case length >= 0:
		case lengthRequired && len(e.request.TransferEncoding) == 0:
			e.exit = e.failure(http.StatusLengthRequired, "A valid Content-Length header is required")
		default:
			body, err := e.readBody()
			switch {
			case errors.Is(err, errBodyBroken):
				e.exit = e.failure(http.StatusBadRequest, "Bad request")
			case err != nil || int64(len(body)) > limit:
				refuse(e)
			}
		}
		return nil
	}
	return handler{priority: 951, access: access}
}

// clearHeader is the one function that the stand-in understands of Lua.
var clearHeader = regexp.MustCompile(`^kong\.service\.request\.clear_header\("([a-zA-Z0-9_-]+)"\)$`)

// preFunction removes headers; other Lua has no effect here.
func preFunction(o *options) handler {
	var names []string
	for _, code := range texts(o, "access") {
		found := clearHeader.FindStringSubmatch(strings.TrimSpace(code))
		if found == nil {
			o.builder.skip("plugin pre-function: the Lua of config.access")
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
func cors(o *options) handler {
	origins, methods := texts(o, "origins"), strings.Join(texts(o, "methods"), ",")
	headers, exposed := strings.Join(texts(o, "headers"), ","), strings.Join(texts(o, "exposed_headers"), ",")
	maxAge, credentials := take(o, "max_age", 0), take(o, "credentials", false)
	allow := func(e *exchange, header http.Header) {
		header.Add("Vary", "Origin")
		origin := e.request.Header.Get("Origin")
		if len(origins) == 1 {
			origin = origins[0] // Kong does not look at the request's then
		}
		if slices.Contains(origins, origin) {
			header.Set("Access-Control-Allow-Origin", origin)
		}
		if credentials {
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
			header := http.Header{"Access-Control-Allow-Methods": {methods}, "Access-Control-Allow-Headers": {headers}, "Access-Control-Max-Age": {strconv.Itoa(maxAge)}}
			allow(e, header)
			e.exit = &reply{status: http.StatusOK, header: header}
			return nil
		},
		header: func(e *exchange, header http.Header) {
			if preflight(e) {
				return
			}
			allow(e, header)
			header.Set("Access-Control-Expose-Headers", exposed)
		},
	}
}
