package kong

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The rules of Kong that are more than a type, a range or a choice. Each says
// what is wrong, or nothing, and repeats no value that may hold a password.

var (
	uuidForm   = regexp.MustCompile(`^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`)
	tagForm    = regexp.MustCompile(`^[ !-+\-.0-~\x{80}-\x{10ffff}]+$`)
	nameForm   = regexp.MustCompile(`^[0-9A-Za-z._~\x{80}-\x{10ffff}-]+$`)
	headerForm = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	methodForm = regexp.MustCompile(`^[A-Z]+$`)
	labelForm  = regexp.MustCompile(`^[0-9A-Za-z_-]*[0-9A-Za-z_]$`)
	pathForm   = regexp.MustCompile(`^/([0-9A-Za-z.\-_~/:@!$&'()*+,;=]|%[0-9a-fA-F]{2})*$`)
)

// matching is a rule that takes what has a form.
func matching(form *regexp.Regexp, otherwise string) func(string) string {
	return func(s string) string {
		if form.MatchString(s) {
			return ""
		}
		return otherwise
	}
}

var (
	uuid       = matching(uuidForm, "expected a valid UUID")
	tag        = matching(tagForm, "invalid tag: expected printable characters without , and /")
	entityName = matching(nameForm, "invalid value: the only accepted ascii characters are alphanumerics or ., -, _, and ~")
	headerName = matching(headerForm, "bad header name; allowed characters are A-Z, a-z, 0-9, _ and -")
	method     = matching(methodForm, "not a method; write it in capitals, such as GET")
)

func routeHeader(name string) string {
	if strings.EqualFold(name, "host") {
		return "cannot contain 'host' header, which must be specified in the 'hosts' attribute"
	}
	return headerName(name)
}

// splitHost looks at a name or an address with an optional port. ok is false
// when it is neither.
func splitHost(s string) (port string, isAddress, ok bool) {
	if _, err := netip.ParseAddr(s); err == nil {
		return "", true, true // an IPv6 address without brackets among them
	}
	name := s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		name, port = s[:i], s[i+1:]
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return port, false, false
		}
	}
	inner, bracketed := strings.CutPrefix(name, "[")
	inner = strings.TrimSuffix(inner, "]")
	if _, err := netip.ParseAddr(inner); err == nil && bracketed == strings.Contains(inner, ":") {
		return port, true, true
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if !labelForm.MatchString(label) {
			return port, false, false
		}
	}
	return port, false, true
}

func host(s string) string {
	switch port, _, ok := splitHost(s); {
	case port != "":
		return "must not have a port"
	case !ok:
		return "invalid value: expected a host name or an address"
	}
	return ""
}

func hostPort(s string) string {
	if _, _, ok := splitHost(s); !ok {
		return "expected a valid host name or address, and a port of at most 65535"
	}
	return ""
}

func upstreamHost(s string) string {
	switch port, isAddress, ok := splitHost(s); {
	case isAddress:
		return "invalid name: no ip addresses allowed"
	case port != "":
		return "invalid name: no port allowed"
	case !ok:
		return "invalid name: must be a valid hostname"
	}
	return ""
}

func wildcardHost(s string) string {
	if i := strings.IndexByte(s, '*'); i >= 0 {
		if strings.Count(s, "*") > 1 || !strings.HasPrefix(s, "*.") && !strings.HasSuffix(s, ".*") {
			return "invalid wildcard: one is allowed, as the leftmost or rightmost label"
		}
		s = strings.Replace(s, "*", "wildcard", 1)
	}
	return hostPort(s)
}

func addressOrNetwork(s string) string {
	_, err1 := netip.ParseAddr(s)
	_, err2 := netip.ParsePrefix(s)
	if err1 != nil && err2 != nil {
		return "invalid ip or cidr range"
	}
	return ""
}

func urlPath(s string) string {
	switch {
	case !strings.HasPrefix(s, "/"):
		return "should start with: /"
	case strings.Contains(s, "//"):
		return "must not have empty segments"
	case !pathForm.MatchString(s):
		return "invalid path: it has characters outside of the reserved list of RFC 3986"
	}
	return ""
}

// routePath checks a route's path: a prefix that begins with a slash, or a
// tilde and a regular expression that begins with one.
func routePath(s string) string {
	expression, isRegex := strings.CutPrefix(s, "~")
	switch {
	case !strings.HasPrefix(expression, "/"):
		return fmt.Sprintf("%q should start with: / (fixed path) or ~/ (regular expression)", s)
	case strings.Contains(expression, "//"):
		return "must not have empty segments"
	case !isRegex:
		return urlPath(s)
	}
	if _, err := regexp.Compile(expression); err != nil {
		return fmt.Sprintf("%q is not a regular expression: %v", s, err)
	}
	return ""
}

// serviceURL checks the short way to write a service's protocol, host, port and
// path. It never repeats it.
func serviceURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "":
		return "expected a URL with a host, such as http://identity:8081"
	case !slices.Contains(protocols, u.Scheme):
		return "the URL's scheme is none of: " + strings.Join(protocols, ", ")
	case u.User != nil:
		return "Kong has no use for a user or a password in the URL; remove it"
	}
	return host(u.Hostname())
}

// is reports whether a record's field has a value among those given.
func is(values map[string]any, field string, among ...string) bool {
	s, ok := values[field].(string)
	return ok && slices.Contains(among, s)
}

func serviceRules(v any) string {
	values := v.(map[string]any)
	if values["url"] != nil {
		return ""
	}
	overTLS := is(values, "protocol", "https", "tls")
	for _, name := range []string{"client_certificate", "tls_verify", "tls_verify_depth", "ca_certificates"} {
		if values[name] != nil && !overTLS {
			return name + ": only with the protocol https or tls"
		}
	}
	if values["path"] != nil && is(values, "protocol", "tcp", "tls", "udp", "grpc", "grpcs") {
		return "path: not with this protocol"
	}
	return ""
}

// families are the protocols that one route can have together.
var families = [][]string{{"http", "https"}, {"tcp", "tls", "udp"}, {"tls_passthrough"}, {"grpc", "grpcs"}}

// matchers are the fields by which a route of each family can match; it needs
// one of them.
var matchers = [][]string{
	{"methods", "hosts", "headers", "paths", "snis"}, {"sources", "destinations", "snis"}, {"snis"}, {"hosts", "headers", "paths", "snis"},
}

func routeRules(v any) string {
	values := v.(map[string]any)
	given, _ := values["protocols"].([]any)
	if given == nil {
		given = []any{"http", "https"}
	}
	for i, family := range families {
		if first, _ := given[0].(string); slices.Contains(family, first) {
			return familyRules(values, given, family, matchers[i])
		}
	}
	return ""
}

func familyRules(values map[string]any, given []any, family, matchers []string) string {
	secure := false
	for _, p := range given {
		name, _ := p.(string)
		if !slices.Contains(family, name) {
			return "protocols: these cannot be together on one route"
		}
		secure = secure || name == "https" || name == "grpcs" || strings.HasPrefix(name, "tls")
	}
	if !slices.ContainsFunc(matchers, func(m string) bool { return !empty(values[m]) && (m != "snis" || secure) }) {
		return "matches nothing; set one of: " + strings.Join(matchers, ", ")
	}
	for _, name := range []string{"methods", "hosts", "headers", "paths", "snis", "sources", "destinations"} {
		if !empty(values[name]) && (!slices.Contains(matchers, name) || name == "snis" && !secure) {
			return name + ": not with these protocols"
		}
	}
	if values["strip_path"] == true && family[0] == "grpc" {
		return "strip_path: not with these protocols"
	}
	return ""
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

func upstreamRules(v any) string {
	values := v.(map[string]any)
	on, _ := values["hash_on"].(string)
	fallback, _ := values["hash_fallback"].(string)
	for _, needs := range []struct{ value, field string }{
		{on, "hash_on_"}, {fallback, "hash_fallback_"},
	} {
		name := needs.field + needs.value
		if needs.value == "cookie" {
			name = "hash_on_cookie" // both ways
		}
		if slices.Contains([]string{"header", "cookie", "query_arg", "uri_capture"}, needs.value) && values[name] == nil {
			return name + ": required field missing"
		}
	}
	if fallback != "" && fallback != "none" {
		if on == "" || on == "none" || on == "cookie" || on == fallback && (on == "consumer" || on == "ip" || on == "path") {
			return "hash_fallback: not with this hash_on"
		}
	}
	for _, kind := range []string{"header", "query_arg", "uri_capture"} {
		if a := values["hash_on_"+kind]; a != nil && a == values["hash_fallback_"+kind] {
			return "hash_on_" + kind + " and hash_fallback_" + kind + " must be different"
		}
	}
	return ""
}
