package httpapi_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/httpapi"
)

// A client that sends its body slowly, to the end and before it reads, as most
// do, sees the answer. Checked without Linger: the connection is reset.
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

// TestAnswerIsSeen: a client that sends all of a large body before it reads,
// as most do, gets the answer. Without Linger its connection is reset.
func TestAnswerIsSeen(t *testing.T) {
	server := httptest.NewServer(httpapi.Linger(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	})))
	t.Cleanup(server.Close)
	for _, size := range []int{1, 300 << 10, 10 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			_, err = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", size, bytes.Repeat([]byte("x"), size))
			if err != nil {
				t.Fatalf("sending was interrupted: %v", err)
			}
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || answer.StatusCode != http.StatusRequestEntityTooLarge {
				t.Fatalf("answer %v, %v", answer, err)
			}
			_ = answer.Body.Close()
		})
	}
}

// TestClientThatWaits: a client that asks before it sends is not waited for.
func TestClientThatWaits(t *testing.T) {
	served := make(chan struct{})
	handler := httpapi.Linger(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
		close(served)
	}))
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10000000\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-served:
	case <-time.After(4 * time.Second): // less than the wait for others
		t.Error("the handler waits for a body that will not come")
	}
}
