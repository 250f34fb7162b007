package httpapi_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A client that sends its body slowly, to the end and before it reads, as most
// do, sees the answer. Checked without package linger: the connection is reset.
func TestSlowSenderSeesTheAnswer(t *testing.T) {
	const (
		size  = 40 << 10
		sends = 20
	)
	sized := fmt.Sprintf("Content-Length: %d\r\n", size)
	piece := strings.Repeat("x", size/sends)
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 100<<10, strings.Repeat("x", 100<<10))
	for name, test := range map[string]struct {
		head, piece, end string
		want             int
	}{
		"too large, to be closed":   {"POST /users HTTP/1.1\r\nConnection: close\r\n" + sized, piece, "", 413},
		"too large, HTTP/1.0":       {"POST /users HTTP/1.0\r\n" + sized, piece, "", 413},
		"too large, kept open":      {"POST /users HTTP/1.1\r\n" + sized, piece, "", 413},
		"too large, 2 MB in chunks": {"POST /users HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", chunk, "0\r\n\r\n", 413},
		"without a token":           {"POST /logout HTTP/1.1\r\nConnection: close\r\n" + sized, piece, "", 401},
		"without a token, in chunks": {
			"PUT /users/x/password HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n", chunk, "0\r\n\r\n", 401,
		},
		"no such path":   {"POST /nothing HTTP/1.1\r\nConnection: close\r\n" + sized, piece, "", 404},
		"no such method": {"DELETE /login HTTP/1.1\r\nConnection: close\r\n" + sized, piece, "", 405},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			conn := s.dial(t)
			_, err := io.WriteString(conn, test.head+"Host: x\r\nContent-Type: application/json\r\n\r\n")
			must(t, err)
			pace := time.NewTicker(75 * time.Millisecond) // longer in all than net/http waits by itself
			defer pace.Stop()
			for range sends {
				if _, err := io.WriteString(conn, test.piece); err != nil {
					t.Fatalf("sending was interrupted: %v", err)
				}
				<-pace.C
			}
			_, err = io.WriteString(conn, test.end)
			must(t, err)
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			must(t, err)
			defer res.Body.Close()
			if text, err := io.ReadAll(res.Body); err != nil || res.StatusCode != test.want || !bytes.Contains(text, []byte(`"status":`)) {
				t.Errorf("%d %s, %v; want %d", res.StatusCode, text, err, test.want)
			}
		})
	}
}

// dial connects to the service for as long as the test runs.
func (s *service) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return conn
}
