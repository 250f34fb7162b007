package kong

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// file is what Earlybird has to know of a declarative file: which plugins apply
// where, and which route a request takes.
type file struct {
	top      *yaml.Node
	services []*entity
	routes   []*entity
	plugins  []*entity
}

// entity is a service, a route or a plugin.
type entity struct {
	node *yaml.Node
	path string // such as services.identity.routes.login
	name string
	// service and route are what a route or a plugin belongs to; nil: to all.
	service, route *entity
	others         bool // a plugin that is for some consumers alone
}

func collect(top *yaml.Node) *file {
	f := &file{top: top}
	for i, n := range items(get(top, "services")) {
		s := newEntity(n, "services", i)
		f.services = append(f.services, s)
		f.collectRoutes(s, n, s.path+".")
		f.collectPlugins(entity{service: s}, n, s.path+".")
	}
	f.collectRoutes(nil, top, "")
	f.collectPlugins(entity{}, top, "")
	for i, n := range slices.Concat(items(get(top, "consumers")), items(get(top, "consumer_groups"))) {
		f.collectPlugins(entity{others: true}, n, fmt.Sprintf("consumers[%d].", i))
	}
	return f
}

func newEntity(n *yaml.Node, path string, i int) *entity {
	e := &entity{node: n, name: text(n, "name"), path: path + "[" + strconv.Itoa(i) + "]"}
	if e.name != "" {
		e.path = path + "." + e.name
	}
	return e
}

func (f *file) collectRoutes(service *entity, in *yaml.Node, path string) {
	for i, n := range items(get(in, "routes")) {
		r := newEntity(n, path+"routes", i)
		r.service = service
		if service == nil {
			r.service = find(f.services, get(n, "service"))
		}
		f.routes = append(f.routes, r)
		f.collectPlugins(entity{service: r.service, route: r}, n, r.path+".")
	}
}

// collectPlugins collects the plugins of one entity. Those at the top may name
// what they are for.
func (f *file) collectPlugins(of entity, in *yaml.Node, path string) {
	for i, n := range items(get(in, "plugins")) {
		p := newEntity(n, path+"plugins", i)
		p.service, p.route = of.service, of.route
		p.others = of.others || given(n, "consumer") || given(n, "consumer_group")
		if given(n, "service") && p.service == nil {
			p.service = find(f.services, get(n, "service"))
			p.others = p.others || p.service == nil
		}
		if given(n, "route") && p.route == nil {
			p.route = find(f.routes, get(n, "route"))
			p.others = p.others || p.route == nil
		}
		f.plugins = append(f.plugins, p)
	}
}

func given(n *yaml.Node, key string) bool {
	found := get(n, key)
	return found != nil && scalar(found) != nil
}

// find returns the entity that a reference is to: a name, an id, or a mapping
// with one of the two.
func find(all []*entity, ref *yaml.Node) *entity {
	if ref == nil {
		return nil
	}
	wanted := []string{text(ref, "id"), text(ref, "name")}
	if ref.Kind == yaml.ScalarNode {
		wanted = []string{ref.Value}
	}
	for _, e := range all {
		for _, name := range []string{e.name, text(e.node, "id")} {
			if name != "" && slices.Contains(wanted, name) {
				return e
			}
		}
	}
	return nil
}

// plugin returns the plugin of this name that runs on a route, which is the most
// specific of those that could; nil when none does.
func (f *file) plugin(route *entity, name string) *entity {
	var best *entity
	for _, p := range f.plugins {
		if p.name != name || p.others || !p.enabled() {
			continue
		}
		if (p.route == nil || p.route == route) && (p.service == nil || p.service == route.service) {
			if best == nil || p.scope() > best.scope() {
				best = p
			}
		}
	}
	return best
}

func (e *entity) enabled() bool {
	n := get(e.node, "enabled")
	return n == nil || scalar(n) != false
}

func (e *entity) scope() int {
	n := 0
	if e.route != nil {
		n += 2
	}
	if e.service != nil {
		n++
	}
	return n
}

// http reports whether a route takes HTTP requests.
func (e *entity) http() bool {
	protocols := texts(get(e.node, "protocols"))
	return len(protocols) == 0 || slices.ContainsFunc(protocols, func(p string) bool { return strings.HasPrefix(p, "http") || strings.HasPrefix(p, "grpc") })
}

// answers returns the routes that a request may take. Which one Kong takes also
// depends on the host, the headers and the server name, which are not known
// here: of the routes that ask for the same ones, the best match is returned, or
// several that match equally well.
func answers(routes []*entity, method, path string) []*entity {
	type candidate struct {
		*entity
		rank rank
		asks string
	}
	var matching []candidate
	for _, r := range routes {
		if rank, ok := r.match(method, path); ok {
			matching = append(matching, candidate{r, rank, r.asks()})
		}
	}
	var best []*entity
	for _, c := range matching {
		beaten := slices.ContainsFunc(matching, func(other candidate) bool {
			return other.asks == c.asks && slices.Compare(other.rank[:], c.rank[:]) > 0
		})
		if !beaten {
			best = append(best, c.entity)
		}
	}
	return best
}

// asks are a route's conditions beside methods and paths.
func (e *entity) asks() string {
	s := fmt.Sprint(texts(get(e.node, "hosts")), texts(get(e.node, "snis")))
	for _, m := range members(get(e.node, "headers")) {
		s += fmt.Sprint(m.key.Value, texts(m.value))
	}
	return s
}

// rank says which of several routes Kong takes, the first difference deciding:
// the number of conditions, a regular expression before a prefix, its priority,
// the longer path.
type rank [4]int

// prefix is what a path without a tilde is; in files older than 3.0, anything
// else is a regular expression.
var prefix = regexp.MustCompile(`^[a-zA-Z0-9._~/%-]*$`)

// match reports whether a route takes requests of this method and path. A
// regular expression that Go cannot read is Kong's, and taken for no match.
func (e *entity) match(method, path string) (best rank, ok bool) {
	methods, paths := texts(get(e.node, "methods")), texts(get(e.node, "paths"))
	if !e.http() || len(methods) > 0 && !slices.Contains(methods, method) {
		return rank{}, false
	}
	var conditions int
	if len(methods) > 0 {
		conditions++
	}
	if len(paths) == 0 {
		return rank{conditions, 0, 0, 0}, true
	}
	priority, _ := scalarOf(e.node, "regex_priority").(float64)
	for _, p := range paths {
		expression, isRegex := strings.CutPrefix(p, "~")
		one, matches := rank{conditions + 1, 0, 0, len(p)}, strings.HasPrefix(path, p)
		if isRegex || !prefix.MatchString(p) {
			re, err := regexp.Compile("^(?:" + expression + ")")
			one, matches = rank{conditions + 1, 1, int(priority), len(p)}, err == nil && re.MatchString(path)
		}
		if matches && (!ok || slices.Compare(one[:], best[:]) > 0) {
			best, ok = one, true
		}
	}
	return best, ok
}

func scalarOf(n *yaml.Node, key string) any {
	if found := get(n, key); found != nil {
		return scalar(found)
	}
	return nil
}

// takesAny reports whether a route takes paths that identity does not have.
func (e *entity) takesAny() bool {
	method := append(texts(get(e.node, "methods")), "GET")[0]
	_, one := e.match(method, "/another")
	_, two := e.match(method, "/another/path")
	return one || two
}
