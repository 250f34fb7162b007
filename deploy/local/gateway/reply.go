package gateway

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
)

// reply is an answer on its way to the client.
type reply struct {
	status int
	header http.Header
	body   io.Reader
}

// failure is an answer in the form of Kong's own: kong.response.error.
func (e *exchange) failure(status int, message string) *reply {
	body, err := json.Marshal(struct {
		Message   string `json:"message"`
		RequestID string `json:"request_id"`
	}{message, e.id})
	if err != nil {
		body = nil // cannot happen: both are strings
	}
	header := http.Header{"Content-Type": {"application/json; charset=utf-8"}}
	return &reply{status: status, header: header, body: bytes.NewReader(body)}
}

// unexpected is Kong's answer when a plugin fails.
func (e *exchange) unexpected() *reply {
	return e.failure(http.StatusInternalServerError, "An unexpected error occurred")
}

// send writes the reply, with the one header of its own that kong.conf has Kong
// add.
func (e *exchange) send(w http.ResponseWriter, r *reply) {
	header := w.Header()
	for name, values := range r.header {
		header[name] = values
	}
	header.Set("X-Kong-Request-Id", e.id)
	if _, given := header["Content-Type"]; !given {
		header["Content-Type"] = nil // as Kong: none, instead of a guessed one
	}
	sends := r.body != nil && e.request.Method != http.MethodHead && r.status != http.StatusNoContent && r.status != http.StatusNotModified
	if whole, ok := r.body.(*bytes.Reader); ok && sends {
		header.Set("Content-Length", strconv.Itoa(whole.Len()))
	}
	w.WriteHeader(r.status)
	if !sends {
		return
	}
	if _, err := io.Copy(w, r.body); err != nil {
		// The status is out; cutting the connection is all that can tell the client.
		panic(http.ErrAbortHandler)
	}
}
