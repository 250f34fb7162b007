package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// errNoTarget reports that no target of an upstream is healthy.
var errNoTarget = errors.New("failure to get a peer from the ring-balancer")

// forward asks the service. As nginx does, it tries another target when it
// could not connect, and for idempotent methods when the connection broke.
func (e *exchange) forward(ctx context.Context) (*reply, error) {
	header := e.upstreamHeader()
	s := e.route.service
	for attempt := 0; ; attempt++ {
		address, done, err := s.upstream.pick()
		if err != nil {
			return nil, err
		}
		answer, err := e.ask(ctx, address, header)
		if err == nil {
			e.release = done
			return answer, nil
		}
		done()
		if ctx.Err() != nil || attempt >= s.retries || !retriable(e.request.Method, err) {
			return nil, err
		}
	}
}

func retriable(method string, err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return true
	}
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions}, method)
}

// ask sends the request to one address.
func (e *exchange) ask(ctx context.Context, address string, header http.Header) (*reply, error) {
	request, err := http.NewRequestWithContext(ctx, e.request.Method, "http://"+address, bytes.NewReader(e.body))
	if err != nil {
		return nil, fmt.Errorf("request to the service: %w", err)
	}
	// Opaque is sent as it is, without another decoding and encoding.
	request.URL = &url.URL{Scheme: "http", Host: address, Opaque: e.path, RawQuery: e.request.URL.RawQuery}
	request.Header = header.Clone()
	response, err := e.route.service.transport.RoundTrip(request) //nolint:bodyclose // whoever sends the reply closes it
	if err != nil {
		return nil, fmt.Errorf("ask the service at %s: %w", address, err)
	}
	return &reply{response.StatusCode, response.Header, response.Body}, nil
}

// upstreamHeader is what the service sees: the plugins' headers, without what
// the client asked to have dropped, with what Kong adds.
func (e *exchange) upstreamHeader() http.Header {
	header := e.upstream.Clone()
	header["Connection"] = e.request.Header["Connection"]
	clearHopByHop(header)
	for _, name := range []string{"Te", "Content-Length", "Host", "Expect"} { // which nginx drops or sets itself
		header.Del(name)
	}
	if _, ok := header["User-Agent"]; !ok {
		header["User-Agent"] = nil // none, instead of Go's own
	}
	header.Set("X-Forwarded-For", strings.Join(append(e.request.Header.Values("X-Forwarded-For"), e.clientIP), ", "))
	header.Set("X-Forwarded-Proto", "http")
	header.Set("X-Kong-Request-Id", e.id)
	return header
}

// clearHopByHop deletes the headers of a connection, not of a message (RFC 9110
// section 7.6.1), and every one that Connection names. Kong does so with a
// request after the plugins ran, so it takes theirs as well.
func clearHopByHop(header http.Header) {
	for _, line := range header.Values("Connection") {
		for name := range strings.SplitSeq(line, ",") {
			header.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy", "Proxy-Connection", "Trailer", "Transfer-Encoding", "Upgrade"} {
		header.Del(name)
	}
}

// upstreamFailure is Kong's answer when the service could not be asked.
func (e *exchange) upstreamFailure(ctx context.Context, err error) *reply {
	var timeout net.Error
	var status int
	var message string
	switch {
	case errors.Is(err, errNoTarget):
		status, message = http.StatusServiceUnavailable, errNoTarget.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		status, message = http.StatusGatewayTimeout, "The upstream server is timing out"
	default:
		status, message = http.StatusBadGateway, "An invalid response was received from the upstream server"
	}
	if ctx.Err() == nil {
		e.gateway.log.ErrorContext(ctx, "the service did not answer", "status", status, "request_id", e.id, "err", err)
	}
	return e.failure(status, message)
}
