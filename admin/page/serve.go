package page

import (
	"context"
	"crypto/subtle"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// policy lets the page load its own files and nothing else.
	policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	// keepAlive is how often a browser hears something when nothing is new. The
	// script takes the connection for lost after three times as long.
	keepAlive = 5 * time.Second
	// patience is how long a browser may take to read an answer.
	patience = 10 * time.Second
)

// Serve answers browsers on a listener until ctx ends, and then ends their
// connections.
func (p *Page) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: p, BaseContext: func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: patience, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(io.Discard, "", 0), // connections that break are of no interest
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	// The events end with ctx; what is still being written has a moment.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return server.Close()
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range map[string]string{
		"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Cache-Control": "no-store",
	} {
		w.Header().Set(name, value)
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience))
	path, found := p.below(r.URL.Path)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page can only be read", http.StatusMethodNotAllowed)
	case p.token == "" && !ofThisMachine(r.Host):
		http.Error(w, "this page is only for this machine: ask for 127.0.0.1 or localhost", http.StatusMisdirectedRequest)
	case !found:
		http.NotFound(w, r)
	case path == "":
		p.document(w, r)
	case path == "events":
		p.events(w, r)
	case path == "watch.css":
		serveText(w, r, "text/css; charset=utf-8", style("watch.css"))
	case path == "watch.js":
		serveText(w, r, "text/javascript; charset=utf-8", file("watch.js"))
	case path == "icon.svg":
		serveText(w, r, "image/svg+xml", file("icon.svg"))
	default:
		http.NotFound(w, r)
	}
}

// below is the path below the page's own, and whether it is there.
func (p *Page) below(path string) (string, bool) {
	path, found := strings.CutPrefix(path, "/")
	if p.token == "" || !found {
		return path, found
	}
	token, rest, found := strings.Cut(path, "/")
	same := subtle.ConstantTimeCompare([]byte(token), []byte(p.token)) == 1
	return rest, found && same
}

// ofThisMachine reports whether a Host header names this machine. A page of
// another site can have its own name resolve to 127.0.0.1 (DNS rebinding), and
// would then be allowed to read this one. With a token that is of no use: such a
// page does not know it.
func ofThisMachine(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	ip := net.ParseIP(name)
	return strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
}

func serveText(w http.ResponseWriter, r *http.Request, contentType, text string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write([]byte(text)) // a browser that is gone needs no answer
}

// document answers with the page, which already shows the present state: it can
// be read without its script as well.
func (p *Page) document(w http.ResponseWriter, r *http.Request) {
	event, s, _ := p.latest()
	if event == nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "nothing was read yet: try again", http.StatusServiceUnavailable)
		return
	}
	var b strings.Builder
	if err := templates.ExecuteTemplate(&b, "watch.html.tmpl", s); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	serveText(w, r, "text/html; charset=utf-8", b.String())
}

// events sends the whole state, again whenever there is a new one, and at least
// every keepAlive. A browser that is slow gets the newest, not every one.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy on the way passes each event on at once
	if r.Method == http.MethodHead {
		return
	}
	control := http.NewResponseController(w)
	for {
		event, _, changed := p.latest()
		_ = control.SetWriteDeadline(time.Now().Add(patience))
		if _, err := w.Write(event); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		quiet := time.NewTimer(keepAlive)
		select {
		case <-r.Context().Done():
			quiet.Stop()
			return
		case <-changed:
		case <-quiet.C:
		}
		quiet.Stop()
	}
}
