package gateway

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// route is where a request goes, and through which plugins.
type route struct {
	name         string
	stripPath    bool
	preserveHost bool
	service      *service
	plugins      []handler // in the order Kong runs them
}

// buffered reports whether a plugin has a handler of the response phase: Kong
// then holds back the whole answer.
func (r *route) buffered() bool {
	return slices.ContainsFunc(r.plugins, func(h handler) bool { return h.response != nil })
}

// match is one way to reach a route: a route with several paths has several.
type match struct {
	route         *route
	methods       []string
	hosts         []string
	regex         *regexp.Regexp // nil for a prefix
	prefix        string
	regexPriority int
}

// matches spells out how a route is reached.
func matches(r *route, entity routeEntity) ([]match, error) {
	base := match{route: r, methods: entity.Methods, hosts: entity.Hosts, regexPriority: entity.RegexPriority}
	if len(entity.Paths) == 0 {
		if len(base.methods)+len(base.hosts) == 0 {
			return nil, fmt.Errorf("route '%s': must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'", entity.Name)
		}
		return []match{base}, nil
	}
	all := make([]match, 0, len(entity.Paths))
	for _, path := range entity.Paths {
		one := base
		pattern, isRegex := strings.CutPrefix(path, "~")
		switch {
		case isRegex:
			regex, err := regexp.Compile("^(?:" + pattern + ")")
			if err != nil {
				return nil, fmt.Errorf("route '%s' in 'paths': invalid regex: '%s' (%w)", entity.Name, pattern, err)
			}
			one.regex = regex
		case strings.HasPrefix(path, "/"):
			one.prefix = path
		default:
			return nil, fmt.Errorf("route '%s' in 'paths': should start with: / (fixed path) or ~/ (regex path)", entity.Name)
		}
		all = append(all, one)
	}
	return all, nil
}

// rank orders matches as Kong's traditional_compatible router does: by how
// many kinds of condition a route has, then regular expressions by their
// priority before prefixes, then the longer path, then the order in the file.
func rank(all []match) {
	slices.SortStableFunc(all, func(a, b match) int {
		for _, less := range []int{
			b.conditions() - a.conditions(),
			b.regexWeight() - a.regexWeight(),
			b.regexPriority - a.regexPriority,
			b.pathLength() - a.pathLength(),
		} {
			if less != 0 {
				return less
			}
		}
		return 0
	})
}

func (m match) conditions() int {
	n := 0
	for _, has := range []bool{len(m.methods) > 0, len(m.hosts) > 0, m.regex != nil || m.prefix != ""} {
		if has {
			n++
		}
	}
	return n
}

func (m match) regexWeight() int {
	if m.regex != nil {
		return 1
	}
	return 0
}

func (m match) pathLength() int {
	if m.regex != nil {
		return len(m.regex.String())
	}
	return len(m.prefix)
}

// find returns the route of a request with the given normalized path, and the
// part of the path that the route matched.
func find(all []match, r *http.Request, path string) (*route, string) {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	for _, m := range all {
		if len(m.methods) > 0 && !slices.Contains(m.methods, r.Method) {
			continue
		}
		if len(m.hosts) > 0 && !slices.Contains(m.hosts, strings.ToLower(host)) {
			continue
		}
		if m.regex != nil {
			if matched := m.regex.FindString(path); matched != "" {
				return m.route, matched
			}
			continue
		}
		if strings.HasPrefix(path, m.prefix) {
			return m.route, m.prefix
		}
	}
	return nil, ""
}

// upstreamPath is the path the service is asked for.
func (r *route) upstreamPath(path, matched string) string {
	if r.stripPath {
		path = "/" + strings.TrimPrefix(strings.TrimPrefix(path, matched), "/")
	}
	if base := strings.TrimSuffix(r.service.path, "/"); base != "" {
		path = base + path
	}
	return path
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
