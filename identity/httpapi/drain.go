package httpapi

import (
	"io"
	"net/http"
	"time"
)

// How much is read of a body that nothing needs, and for how long.
const (
	drainMost = 16 << 20
	drainTime = 5 * time.Second
)

// drain reads on, after next has answered, what the client still sends of its
// body, and discards it, as nginx's lingering_close does. Closing at once would
// reset the connection, and a client that is busy sending would never see why it
// was refused.
func drain(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			next.ServeHTTP(w, r)
			return
		}
		body := &watchedBody{ReadCloser: r.Body}
		watched := r.WithContext(r.Context())
		watched.Body = body
		next.ServeHTTP(w, watched)
		if body.ended || r.Header.Get("Expect") != "" { // which makes the client wait before it sends
			return
		}
		control := http.NewResponseController(w)
		if control.Flush() == nil && control.SetReadDeadline(time.Now().Add(drainTime)) == nil {
			_, _ = io.CopyN(io.Discard, body, drainMost)
		}
	})
}

// watchedBody notes whether a body was read to its end.
type watchedBody struct {
	io.ReadCloser
	ended bool
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.ended = b.ended || err != nil
	return n, err
}
