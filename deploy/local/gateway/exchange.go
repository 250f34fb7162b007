package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
)

// exchange is one request on its way through the gateway, and its answer.
type exchange struct {
	gateway  *Gateway
	id       string        // of the request: 32 hexadecimal digits
	request  *http.Request // as the client sent it
	clientIP string
	route    *route
	path     string // normalized

	upstream http.Header // what the service will see; plugins change it
	body     []byte      // of the request
	release  func()      // gives the target back that was asked

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
		gateway: g, id: hex.EncodeToString(id[:]), request: r, clientIP: ip, release: func() {},
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

// read reads the whole body. It returns nginx's answer to a request that is
// refused before Kong routes it, or nil.
func (e *exchange) read(w http.ResponseWriter) *reply {
	for name, values := range e.request.Header {
		for _, value := range values {
			if len(name)+len(value)+4 > maxHeaderLine { // ": " and CR LF
				return e.failure(http.StatusBadRequest, "Request header or cookie too large")
			}
		}
	}
	if len(e.request.Header["Authorization"]) > 1 {
		return e.failure(http.StatusBadRequest, "Bad request")
	}
	var err error
	var tooLarge *http.MaxBytesError
	e.body, err = io.ReadAll(http.MaxBytesReader(w, e.request.Body, maxBody))
	switch {
	case errors.As(err, &tooLarge):
		return e.failure(http.StatusRequestEntityTooLarge, "Payload too large")
	case err != nil:
		return e.failure(http.StatusBadRequest, "Bad request")
	}
	return nil
}

// access runs the plugins before the service is asked. The answer, if any, ends
// the request.
func (e *exchange) access(ctx context.Context) *reply {
	for _, h := range e.route.plugins {
		if h.access == nil {
			continue
		}
		if err := h.access(ctx, e); err != nil {
			return e.pluginFailure(ctx, h, "access", err)
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
	_ = e.answer.body.Close()
	if err != nil {
		return e.upstreamFailure(ctx, err)
	}
	e.serviceRaw = body
	e.answer.body = io.NopCloser(bytes.NewReader(body))
	e.downstream = e.answer.header // from here on plugins change the answer itself
	for _, h := range e.route.plugins {
		if h.response == nil {
			continue
		}
		if err := h.response(ctx, e); err != nil {
			return e.pluginFailure(ctx, h, "response", err)
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

// pluginFailure is Kong's answer when a plugin fails.
func (e *exchange) pluginFailure(ctx context.Context, h handler, phase string, err error) *reply {
	e.gateway.log.ErrorContext(ctx, "plugin failed", "plugin", h.name, "phase", phase, "request_id", e.id, "err", err)
	return e.failure(http.StatusInternalServerError, "An unexpected error occurred")
}

// failure is an answer in the form of Kong's own: kong.response.error.
func (e *exchange) failure(status int, message string) *reply {
	body, _ := json.Marshal(map[string]string{"message": message, "request_id": e.id}) // strings alone
	return newReply(status, http.Header{"Content-Type": {"application/json; charset=utf-8"}}, body)
}

// reply is an answer on its way to the client.
type reply struct {
	status int
	header http.Header
	body   io.ReadCloser
}

func newReply(status int, header http.Header, body []byte) *reply {
	return &reply{status, header, io.NopCloser(bytes.NewReader(body))}
}

// send writes the answer, with the one header of its own that kong.conf has Kong
// add.
func (e *exchange) send(w http.ResponseWriter, answer *reply) {
	header := w.Header()
	maps.Copy(header, answer.header)
	header.Set("X-Kong-Request-Id", e.id)
	if _, given := header["Content-Type"]; !given {
		header["Content-Type"] = nil // as Kong: none, instead of a guessed one
	}
	w.WriteHeader(answer.status)
	if _, err := io.Copy(w, answer.body); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		// The status is out; cutting the connection is all that can tell the client.
		panic(http.ErrAbortHandler)
	}
}
