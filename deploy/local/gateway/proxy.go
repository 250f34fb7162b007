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
	"strconv"
	"strings"
	"time"
)

// errNoTarget reports that no target of an upstream is healthy.
var errNoTarget = errors.New("failure to get a peer from the ring-balancer")

// dialTimeout is the key of a request's connect timeout in its context.
type dialTimeout struct{}

func newTransport() *http.Transport {
	var dialer net.Dialer
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if timeout, ok := ctx.Value(dialTimeout{}).(time.Duration); ok {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
			return dialer.DialContext(ctx, network, address)
		},
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
		address, done, err := s.pick()
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

// pick chooses where to send a request; done is to be called when it is over.
func (s *service) pick() (address string, done func(), err error) {
	if s.upstream == nil {
		return s.address, func() {}, nil
	}
	return s.upstream.pick()
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
	s := e.route.service
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, dialTimeout{}, s.connectTimeout))
	timer := time.AfterFunc(s.connectTimeout+s.readTimeout, func() { cancel(context.DeadlineExceeded) })
	request, err := http.NewRequestWithContext(ctx, e.request.Method, "http://"+address, bytes.NewReader(body))
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("request to the service: %w", err)
	}
	// Opaque is sent as it is, without another decoding and encoding.
	request.URL = &url.URL{Scheme: "http", Host: address, Opaque: e.route.upstreamPath(e.path, e.matched), RawQuery: e.request.URL.RawQuery}
	request.Header = header.Clone()
	if e.route.preserveHost {
		request.Host = e.request.Host
	}
	response, err := e.gateway.client.RoundTrip(request) //nolint:bodyclose // whoever sends the reply closes its body
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
		if name != "Te" || !listed(header.Values(name), "trailers") {
			header.Del(name)
		}
	}
	if _, ok := header["User-Agent"]; !ok {
		header["User-Agent"] = nil // none, instead of Go's own
	}
	forwarded := e.clientIP
	if prior := e.request.Header.Values("X-Forwarded-For"); len(prior) > 0 {
		forwarded = strings.Join(prior, ", ") + ", " + e.clientIP
	}
	header.Set("X-Forwarded-For", forwarded)
	header.Set("X-Forwarded-Proto", "http")
	header.Set("X-Forwarded-Host", hostname(e.request.Host))
	if local, ok := e.request.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		header.Set("X-Forwarded-Port", strconv.Itoa(local.Port))
	}
	header.Set("X-Forwarded-Path", e.request.URL.EscapedPath())
	header.Del("X-Forwarded-Prefix")
	if e.route.stripPath && e.matched != "/" {
		header.Set("X-Forwarded-Prefix", e.matched)
	}
	header.Set("X-Real-Ip", e.clientIP)
	header.Set("X-Kong-Request-Id", e.id)
	header.Set("Via", strings.Join(append(e.request.Header.Values("Via"), "1.1 "+serverName), ", "))
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

func listed(lines []string, name string) bool {
	for _, line := range lines {
		for _, item := range strings.Split(line, ",") {
			if strings.EqualFold(strings.TrimSpace(item), name) {
				return true
			}
		}
	}
	return false
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
