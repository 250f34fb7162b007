package linger_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/linger"
)

// TestAnswerIsSeen: a client that sends all of a large body before it reads,
// as most do, gets the answer. Without Handler its connection is reset.
func TestAnswerIsSeen(t *testing.T) {
	server := httptest.NewServer(linger.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
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
	handler := linger.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
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
