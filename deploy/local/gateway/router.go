package gateway

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// route is where a request goes, and through which plugins.
type route struct {
	name    string
	service *service
	plugins []handler // in the order Kong runs them
}

// buffered reports whether a plugin has a handler of the response phase: Kong
// then holds back the whole answer.
func (r *route) buffered() bool {
	return slices.ContainsFunc(r.plugins, func(h handler) bool { return h.response != nil })
}

// match is one way to reach a route: a route with several paths has several.
type match struct {
	route   *route
	methods []string
	regex   *regexp.Regexp
}

// rank orders matches as Kong's default router does: those with methods first,
// then the longer expression, then the order in the file.
func rank(all []match) {
	slices.SortStableFunc(all, func(a, b match) int {
		if with := min(len(b.methods), 1) - min(len(a.methods), 1); with != 0 {
			return with
		}
		return len(b.regex.String()) - len(a.regex.String())
	})
}

// find returns the route of a request with the given normalized path, or nil.
func find(all []match, r *http.Request, path string) *route {
	for _, m := range all {
		if (len(m.methods) == 0 || slices.Contains(m.methods, r.Method)) && m.regex.MatchString(path) {
			return m.route
		}
	}
	return nil
}

// normalize brings a path into the form Kong matches and forwards: unreserved
// characters decoded, other escapes in upper case, dot segments and repeated
// slashes removed (RFC 3986 section 6.2.2).
func normalize(escaped string) string {
	decoded := unescapeUnreserved(escaped)
	segments := strings.Split(decoded, "/")
	kept := make([]string, 0, len(segments))
	for i, segment := range segments {
		last := i == len(segments)-1
		switch segment {
		case "", ".":
			if last {
				kept = append(kept, "")
			}
		case "..":
			if len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, segment)
		}
	}
	return "/" + strings.Join(kept, "/")
}

func unescapeUnreserved(escaped string) string {
	var b strings.Builder
	for i := 0; i < len(escaped); i++ {
		if escaped[i] != '%' || i+2 >= len(escaped) {
			b.WriteByte(escaped[i])
			continue
		}
		triplet := escaped[i : i+3]
		if char, err := url.PathUnescape(triplet); err == nil && unreserved(char[0]) {
			b.WriteByte(char[0])
		} else {
			b.WriteString(strings.ToUpper(triplet))
		}
		i += 2
	}
	return b.String()
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
