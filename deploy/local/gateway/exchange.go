package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// exchange is one request on its way through the gateway, and its answer.
type exchange struct {
	gateway  *Gateway
	id       string // of the request: 32 hexadecimal digits
	started  time.Time
	request  *http.Request // as the client sent it
	clientIP string
	route    *route
	path     string // normalized

	upstream http.Header // what the service will see; plugins change it
	body     []byte      // of the request; see readBody
	bodyRead bool

	// downstream is what plugins set before there is an answer, and overrides
	// the service's headers; in the response phase it is the answer's header.
	downstream http.Header
	answer     *reply // from the response phase on: what the client will get
	serviceRaw []byte // from the response phase on: the body of the service's answer

	correlationID string
	exit          *reply // set by a plugin that ends the request
}

func (g *Gateway) newExchange(r *http.Request) *exchange {
	var id [16]byte
	_, _ = rand.Read(id[:])
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip = r.RemoteAddr
	}
	return &exchange{
		gateway: g, id: hex.EncodeToString(id[:]), started: g.now(), request: r, clientIP: ip,
		path: normalize(r.URL.EscapedPath()), upstream: withoutUnderscores(r.Header), downstream: http.Header{},
	}
}

// withoutUnderscores copies the headers without names that nginx takes for
// invalid under underscores_in_headers off, as kong.conf has it.
func withoutUnderscores(header http.Header) http.Header {
	kept := make(http.Header, len(header))
	for name, values := range header {
		if !strings.Contains(name, "_") {
			kept[name] = append([]string(nil), values...)
		}
	}
	return kept
}

// maxHeaderLine is nginx's limit on a line of a request's head, in bytes.
const maxHeaderLine = 8 << 10

// maxBody is client_max_body_size of kong.conf, in bytes.
const maxBody = 2 << 20

// malformed is nginx's answer to a request that it refuses before Kong routes
// it, or nil.
func (e *exchange) malformed() *reply {
	r := e.request
	for name, values := range r.Header {
		for _, value := range values {
			if len(name)+len(value)+4 > maxHeaderLine { // ": " and CR LF
				return e.failure(http.StatusBadRequest, "Request header or cookie too large")
			}
		}
	}
	if len(r.Header["Authorization"]) > 1 {
		return e.failure(http.StatusBadRequest, "Bad request")
	}
	if r.ContentLength > maxBody {
		return e.failure(http.StatusRequestEntityTooLarge, "Payload too large")
	}
	return nil
}

var (
	// errBodyTooLarge reports a body without a length that is over maxBody.
	errBodyTooLarge = errors.New("request body too large")
	// errBodyBroken reports a body that the client did not send to its end.
	errBodyBroken = errors.New("request body ended early")
)

// readBody reads the whole request body, once: Kong buffers it before it asks
// the service.
func (e *exchange) readBody() ([]byte, error) {
	if e.bodyRead {
		return e.body, nil
	}
	body, err := io.ReadAll(io.LimitReader(e.request.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBodyBroken, err)
	}
	if len(body) > maxBody {
		return nil, errBodyTooLarge
	}
	e.body, e.bodyRead = body, true
	return body, nil
}

// access runs the plugins before the service is asked. The reply, if any, ends
// the request.
func (e *exchange) access(ctx context.Context) *reply {
	for _, h := range e.route.plugins {
		if h.access == nil {
			continue
		}
		if err := h.access(ctx, e); err != nil {
			e.gateway.log.ErrorContext(ctx, "plugin failed", "plugin", h.name, "phase", "access", "request_id", e.id, "err", err)
			return e.unexpected()
		}
		if e.exit != nil {
			return e.exit
		}
	}
	return nil
}

// responsePhase holds the whole answer of the service back and runs the
// plugins that read it. A plugin's exit replaces the body and the status and
// leaves the service's headers.
func (e *exchange) responsePhase(ctx context.Context) *reply {
	body, err := io.ReadAll(e.answer.body)
	if closer, ok := e.answer.body.(io.Closer); ok {
		_ = closer.Close()
	}
	if err != nil {
		e.gateway.log.ErrorContext(ctx, "the service broke off its answer", "request_id", e.id, "err", err)
		return e.failure(http.StatusBadGateway, "An invalid response was received from the upstream server")
	}
	e.serviceRaw = body
	e.answer.body = bytes.NewReader(body)
	e.downstream = e.answer.header // from here on plugins change the answer itself
	for _, h := range e.route.plugins {
		if h.response == nil {
			continue
		}
		if err := h.response(ctx, e); err != nil {
			e.gateway.log.ErrorContext(ctx, "plugin failed", "plugin", h.name, "phase", "response", "request_id", e.id, "err", err)
			return e.unexpected()
		}
		if e.exit != nil {
			e.answer.header.Del("Content-Length")
			e.answer.header.Del("Content-Type")
			fill(e.exit.header, e.answer.header)
			return e.exit
		}
	}
	return e.answer
}

// headerFilter runs what plugins do to the headers of every answer, one that
// the gateway made too.
func (e *exchange) headerFilter(r *reply) {
	for _, h := range e.route.plugins {
		if h.header != nil {
			h.header(e, r.header)
		}
	}
}
