package httpapi

import (
	"net/http"
	"net/netip"
	"strings"
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
