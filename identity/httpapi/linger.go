package httpapi

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// How much is read of a body that nothing needs, and for how long.
const (
	lingerMost = 16 << 20
	lingerWait = 5 * time.Second
)

// Linger reads on, after next has answered, what the client still sends of its
// body, and discards it, as nginx's lingering_close does. Closing at once would
// reset the connection, and a client that is busy sending would never see the
// answer.
func Linger(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			next.ServeHTTP(w, r)
			return
		}
		body := &watchedBody{ReadCloser: r.Body}
		watched := r.WithContext(r.Context())
		watched.Body = body
		next.ServeHTTP(w, watched)
		if body.ended.Load() || r.Header.Get("Expect") != "" { // which makes the client wait before it sends
			return
		}
		control := http.NewResponseController(w)
		if control.Flush() == nil && control.SetReadDeadline(time.Now().Add(lingerWait)) == nil {
			_, _ = io.CopyN(io.Discard, body, lingerMost)
		}
	})
}

// watchedBody notes when there is no more of a body to be read. A proxy may still
// be reading when its handler returns.
type watchedBody struct {
	io.ReadCloser
	ended atomic.Bool
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.ended.Store(true)
	}
	return n, err
}
