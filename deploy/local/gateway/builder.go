package gateway

import (
	"fmt"
	"net/url"
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
	if !slices.Contains([]string{"", "round-robin", "least-connections"}, entity.Algorithm) {
		b.skip(fmt.Sprintf("upstream %s: algorithm %s (round-robin instead)", entity.Name, entity.Algorithm))
	}
	u := newUpstream(entity, b.gateway.log)
	for _, t := range entity.Targets {
		if t.Weight != nil && *t.Weight != 100 {
			b.skip(fmt.Sprintf("upstream %s: weights of targets", entity.Name))
		}
		address := t.Target
		if !strings.Contains(address, ":") {
			address += ":8000" // Kong's default port of a target
		}
		u.add(address)
	}
	if active := entity.Healthchecks.Active; active.Type != "" && active.Type != "http" {
		b.skip(fmt.Sprintf("upstream %s: active health checks of type %s", entity.Name, active.Type))
		u.checks = activeEntity{}
	}
	return u
}

// service is where requests are proxied to.
type service struct {
	path           string
	address        string    // host and port
	upstream       *upstream // nil when the host is not the name of one
	retries        int
	connectTimeout time.Duration
	readTimeout    time.Duration
}

// Kong's defaults for a service.
const (
	defaultTimeout = 60_000 // milliseconds
	defaultRetries = 5
)

func (b *builder) service(entity serviceEntity, global []handler) {
	if entity.URL != "" {
		b.applyURL(&entity)
	}
	if entity.Protocol != "" && entity.Protocol != "http" {
		b.fault("service '%s' in 'protocol': the stand-in speaks http to services, not %s", entity.Name, entity.Protocol)
	}
	port := entity.Port
	if port == 0 {
		port = 80
	}
	s := &service{
		path: entity.Path, address: entity.Host + ":" + strconv.Itoa(port), retries: defaultRetries,
		connectTimeout: milliseconds(entity.ConnectTimeout), readTimeout: milliseconds(entity.ReadTimeout),
	}
	if entity.Retries != nil {
		s.retries = *entity.Retries
	}
	for _, u := range b.gateway.upstreams {
		if u.name == entity.Host {
			s.upstream = u
		}
	}
	own := merge(global, b.plugins("service '"+entity.Name+"' ", entity.Plugins))
	for _, r := range entity.Routes {
		b.route(r, s, own)
	}
}

func (b *builder) applyURL(entity *serviceEntity) {
	u, err := url.Parse(entity.URL)
	if err != nil {
		b.fault("service '%s' in 'url': not a URL", entity.Name) // which may hold a password
		return
	}
	entity.Protocol, entity.Host, entity.Path = u.Scheme, u.Hostname(), u.Path
	entity.Port, _ = strconv.Atoi(u.Port())
}

func milliseconds(n int) time.Duration {
	if n == 0 {
		n = defaultTimeout
	}
	return time.Duration(n) * time.Millisecond
}

func (b *builder) route(entity routeEntity, s *service, inherited []handler) {
	if len(entity.Protocols) > 0 && !slices.Contains(entity.Protocols, "http") {
		b.skip("route " + entity.Name + ": it takes https only")
		return
	}
	r := &route{
		name: entity.Name, service: s, preserveHost: entity.PreserveHost,
		stripPath: entity.StripPath == nil || *entity.StripPath,
		plugins:   inOrder(merge(inherited, b.plugins("route '"+entity.Name+"' ", entity.Plugins))),
	}
	ways, err := matches(r, entity)
	if err != nil {
		b.faults = append(b.faults, err)
	}
	b.gateway.matches = append(b.gateway.matches, ways...)
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
