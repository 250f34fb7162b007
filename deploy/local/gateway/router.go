package gateway

import (
	"net/http"
	"path"
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
func find(all []match, r *http.Request, normalized string) *route {
	for _, m := range all {
		if (len(m.methods) == 0 || slices.Contains(m.methods, r.Method)) && m.regex.MatchString(normalized) {
			return m.route
		}
	}
	return nil
}

// normalize removes dot segments and repeated slashes from a path, as Kong does
// before it matches and forwards one. Unlike Kong it leaves escapes as they are.
func normalize(escaped string) string {
	clean := path.Clean("/" + escaped)
	if strings.HasSuffix(escaped, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}
