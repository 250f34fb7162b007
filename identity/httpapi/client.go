package httpapi

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// clientOf returns the address a request came from. Each hop appends the
// address it saw to X-Forwarded-For, so the list is walked from the right for
// as long as the hop that reported an address is trusted; what stands left of
// the first stranger may be made up.
func clientOf(r *http.Request, trusted []netip.Prefix) string {
	address, ok := parseAddress(r.RemoteAddr)
	if !ok {
		return ""
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && isTrusted(address, trusted); i-- {
		previous, ok := parseAddress(strings.TrimSpace(hops[i]))
		if !ok {
			break
		}
		address = previous
	}
	return address.String()
}

// parseAddress reads an address with or without a port. A mapped IPv4 address
// is taken for what it is, a zone is dropped.
func parseAddress(text string) (netip.Addr, bool) {
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	address, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return address.Unmap().WithZone(""), err == nil
}

func isTrusted(address netip.Addr, trusted []netip.Prefix) bool {
	for _, prefix := range trusted {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

const (
	// manyStrangers is how many requests from strangers are worth a warning: more
	// than one person makes who tries a header.
	manyStrangers = 10
	warnEvery     = time.Minute
)

// strangers counts the requests with an X-Forwarded-For that was ignored.
type strangers struct {
	mu    sync.Mutex
	count int
	next  time.Time // when to warn again at the earliest
}

// warnOfStranger logs, at most once a minute, that a peer which is not trusted
// keeps naming its clients. Such a peer is most often the gateway, reached over
// another network than the one that was meant to be trusted: then all its clients
// share one address limit, and the audit names the gateway. Where no proxy is
// trusted, that is intended.
func (a *API) warnOfStranger(r *http.Request) {
	if len(a.TrustedProxies) == 0 || r.Header.Get("X-Forwarded-For") == "" {
		return
	}
	peer, ok := parseAddress(r.RemoteAddr)
	if !ok || isTrusted(peer, a.TrustedProxies) {
		return
	}
	s, now := &a.strangers, a.Now()
	s.mu.Lock()
	s.count++
	count, due := s.count, s.count >= manyStrangers && !now.Before(s.next)
	if due {
		s.count, s.next = 0, now.Add(warnEvery)
	}
	s.mu.Unlock()
	if due {
		a.Log.WarnContext(r.Context(), "X-Forwarded-For ignored: the peer is not one of --trusted-proxies, so all its clients share one address limit",
			"peer", peer.String(), "requests", count)
	}
}
