// Package linger lets a client see the answer to a body that is too large.
package linger

import (
	"io"
	"net/http"
	"time"
)

const (
	// tail is what net/http reads of a body by itself once it was answered.
	tail = 256 << 10
	// most is how much more than that is read, and wait for how long.
	most = 16 << 20
	wait = 5 * time.Second
)

// Handler reads on, after next has answered, what a client still sends of a
// large body, and forgets it, as nginx does. Closing the connection at once
// would reset it, and a client that is busy sending would never see why.
func Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := r.Body
		next.ServeHTTP(w, r)
		if r.ContentLength <= tail || r.Header.Get("Expect") != "" { // which makes the client wait
			return
		}
		control := http.NewResponseController(w)
		if control.Flush() == nil && control.SetReadDeadline(time.Now().Add(wait)) == nil {
			_, _ = io.CopyN(io.Discard, body, most)
		}
	})
}
