package gateway

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// builder turns a declarative file into a gateway and gathers what is wrong
// with the file on the way.
type builder struct {
	cfg     Config
	gateway *Gateway
	faults  []error
	// sequence numbers the configurations of external plugins.
	sequence int64
}

func (b *builder) fault(format string, args ...any) {
	b.faults = append(b.faults, fmt.Errorf(format, args...))
}

// skip notes what is in the file and has no effect here.
func (b *builder) skip(what string) {
	if !slices.Contains(b.gateway.notEmulated, what) {
		b.gateway.notEmulated = append(b.gateway.notEmulated, what)
	}
}

func (b *builder) build(file declarative) {
	for _, entity := range file.Upstreams {
		b.gateway.upstreams = append(b.gateway.upstreams, b.upstream(entity))
	}
	global := b.plugins("", file.Plugins)
	for _, entity := range file.Services {
		b.service(entity, global)
	}
	rank(b.gateway.matches)
}

func (b *builder) upstream(entity upstreamEntity) *upstream {
	if entity.Algorithm != "least-connections" {
		b.skip(fmt.Sprintf("upstream %s: another algorithm than least-connections", entity.Name))
	}
	u := newUpstream(entity, b.gateway.log)
	for _, t := range entity.Targets {
		u.add(t.Target)
	}
	if active := entity.Healthchecks.Active; active.Type != "" && active.Type != "http" {
		b.skip(fmt.Sprintf("upstream %s: active health checks of type %s", entity.Name, active.Type))
		u.checks = activeEntity{}
	}
	return u
}

// service is where requests are proxied to.
type service struct {
	upstream  *upstream
	retries   int
	transport http.RoundTripper
}

func (b *builder) service(entity serviceEntity, global []handler) {
	if entity.Protocol != "" && entity.Protocol != "http" {
		b.fault("service '%s' in 'protocol': the stand-in speaks http to services", entity.Name)
	}
	s := &service{
		retries: entity.Retries,
		transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: milliseconds(entity.ConnectTimeout)}).DialContext,
			ResponseHeaderTimeout: milliseconds(entity.ReadTimeout),
			DisableCompression:    true, // answers pass as they are
			MaxIdleConnsPerHost:   256,
			IdleConnTimeout:       55 * time.Second,
		},
	}
	for _, u := range b.gateway.upstreams {
		if u.name == entity.Host {
			s.upstream = u
		}
	}
	if s.upstream == nil { // then the host is one address, which nobody checks
		s.upstream = newUpstream(upstreamEntity{Name: entity.Host}, b.gateway.log)
		s.upstream.add(net.JoinHostPort(entity.Host, strconv.Itoa(cmp.Or(entity.Port, 80))))
	}
	if entity.Host == "" {
		b.fault("service '%s' in 'host': required field missing", entity.Name)
	}
	own := merge(global, b.plugins("service '"+entity.Name+"' ", entity.Plugins))
	for _, r := range entity.Routes {
		b.route(r, s, own)
	}
}

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func (b *builder) route(entity routeEntity, s *service, inherited []handler) {
	if entity.StripPath == nil || *entity.StripPath || entity.PreserveHost {
		b.fault("route '%s': the stand-in wants strip_path: false, and no preserve_host", entity.Name)
	}
	r := &route{
		name: entity.Name, service: s,
		plugins: inOrder(merge(inherited, b.plugins("route '"+entity.Name+"' ", entity.Plugins))),
	}
	for _, path := range entity.Paths {
		pattern, isRegex := strings.CutPrefix(path, "~")
		regex, err := regexp.Compile("^(?:" + pattern + ")")
		if !isRegex || err != nil {
			b.fault("route '%s' in 'paths': the stand-in wants a tilde and a regular expression", entity.Name)
			continue
		}
		b.gateway.matches = append(b.gateway.matches, match{route: r, methods: entity.Methods, regex: regex})
	}
}

// handler is one configured plugin. A phase it has no part in is nil.
type handler struct {
	name     string
	priority int
	// access runs before the service is asked, response when the whole answer
	// is there. An error is answered with 500.
	access, response func(context.Context, *exchange) error
	// header changes the headers of any answer last of all, one that the gateway
	// made too.
	header func(*exchange, http.Header)
}

// plugins configures the plugins of the file, of a service or of a route;
// where says which, for faults.
func (b *builder) plugins(where string, entities []pluginEntity) []handler {
	var all []handler
	for _, entity := range entities {
		if !entity.enabled() {
			continue
		}
		at := where + "plugin '" + entity.Name + "' "
		if external, ok := b.cfg.External[entity.Name]; ok {
			all = append(all, b.external(at, entity, external))
		} else if build, ok := bundled[entity.Name]; ok {
			h := build(b, at, entity.Config)
			h.name = entity.Name
			all = append(all, h)
		} else {
			b.skip("plugin " + entity.Name)
		}
	}
	return all
}

// merge returns the handlers with the more specific configuration of a plugin
// in the place of the more general one.
func merge(general, specific []handler) []handler {
	all := slices.Clone(specific)
	for _, h := range general {
		if !slices.ContainsFunc(specific, func(s handler) bool { return s.name == h.name }) {
			all = append(all, h)
		}
	}
	return all
}

// inOrder sorts handlers the way Kong runs them: the highest priority first.
func inOrder(all []handler) []handler {
	slices.SortStableFunc(all, func(a, b handler) int { return b.priority - a.priority })
	return all
}
