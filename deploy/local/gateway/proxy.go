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
	"time"
)

// errNoTarget reports that no target of an upstream is healthy.
var errNoTarget = errors.New("failure to get a peer from the ring-balancer")

func newTransport(connectTimeout time.Duration) http.RoundTripper {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: connectTimeout}).DialContext,
		DisableCompression:  true, // answers pass as they are
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     55 * time.Second,
	}
}

// forward asks the service. As nginx does, it tries another target when it
// could not connect, and for idempotent methods when the connection broke.
func (e *exchange) forward(ctx context.Context) (*reply, error) {
	body, err := e.readBody()
	if err != nil {
		return nil, err
	}
	header := e.upstreamHeader()
	s := e.route.service
	for attempt := 0; ; attempt++ {
		address, done, err := s.upstream.pick()
		if err != nil {
			return nil, err
		}
		answer, err := e.ask(ctx, address, header, body)
		if err == nil {
			answer.body = &closeWith{answer.body, done}
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
func (e *exchange) ask(ctx context.Context, address string, header http.Header, body []byte) (*reply, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(e.route.service.readTimeout, func() { cancel(context.DeadlineExceeded) })
	request, err := http.NewRequestWithContext(ctx, e.request.Method, "http://"+address, bytes.NewReader(body))
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("request to the service: %w", err)
	}
	// Opaque is sent as it is, without another decoding and encoding.
	request.URL = &url.URL{Scheme: "http", Host: address, Opaque: e.path, RawQuery: e.request.URL.RawQuery}
	request.Header = header.Clone()
	response, err := e.route.service.transport.RoundTrip(request) //nolint:bodyclose // whoever sends the reply closes its body
	timer.Stop()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		return nil, fmt.Errorf("ask the service at %s: %w", address, err)
	}
	return &reply{
		status: response.StatusCode, header: response.Header,
		body: &closeWith{response.Body, func() { cancel(nil) }},
	}, nil
}

// upstreamHeader is what the service sees: the plugins' headers, without what
// the client asked to have dropped, with what Kong adds.
func (e *exchange) upstreamHeader() http.Header {
	header := e.upstream.Clone()
	e.dropNamedInConnection(header)
	for _, name := range hopByHop {
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

// hopByHop are the headers of a connection, not of a message (RFC 9110
// section 7.6.1), and those that nginx drops or sets itself.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Content-Length", "Host", "Expect",
}

// dropNamedInConnection deletes every header that the client names in
// Connection. Kong does so after the plugins ran, so it takes theirs as well.
func (e *exchange) dropNamedInConnection(header http.Header) {
	for _, line := range e.request.Header.Values("Connection") {
		for _, name := range strings.Split(line, ",") {
			if name = strings.TrimSpace(name); name != "" {
				header.Del(name)
			}
		}
	}
}

// clearHopByHop removes from an answer what concerns the connection to the
// service alone.
func clearHopByHop(header http.Header) {
	for _, line := range header.Values("Connection") {
		for _, name := range strings.Split(line, ",") {
			header.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Trailer", "Transfer-Encoding", "Upgrade"} {
		header.Del(name)
	}
}

// upstreamFailure is Kong's answer when the service could not be asked.
func (e *exchange) upstreamFailure(ctx context.Context, err error) *reply {
	var timeout net.Error
	var status int
	var message string
	switch {
	case errors.Is(err, errBodyTooLarge):
		return e.failure(http.StatusRequestEntityTooLarge, "Payload too large")
	case errors.Is(err, errBodyBroken):
		return e.failure(http.StatusBadRequest, "Bad request")
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
