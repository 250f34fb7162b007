// Package kong carries Earlybird's declarative configuration for Kong, writes
// the addresses of an installation into it ([Render]), and checks what
// Kong cannot know about such a file ([Validate]).
package kong

import (
	_ "embed" // for kong.yml
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/earlybird/earlybird/plugin/settings"
)

// The names of the service and of the upstream in kong.yml that stand for the
// identity service.
const (
	serviceName  = "identity"
	upstreamName = "identity-replicas"
)

// jwksPath is where the identity service publishes its keys.
const jwksPath = "/.well-known/jwks.json"

//go:embed kong.yml
var declarative []byte

// Options are what one installation has of its own. What is empty stays as it
// is in kong.yml.
type Options struct {
	// IdentityURL is where Kong and its plugins reach the identity service:
	// http or https, a host and perhaps a port, nothing more.
	IdentityURL string
	// RedisURL is where the plugins reach Redis: a redis or rediss URL, or a
	// reference that Kong resolves, such as {vault://env/earlybird-redis-url}.
	RedisURL string
	// Issuer and Audience are what identity's --issuer and --audience say.
	Issuer, Audience string
}

// Render returns kong.yml for the given installation, comments and all, with
// services of one's own at the end of its services. The error lists every option
// that is wrong and never holds a Redis password.
func Render(o Options, own ...Service) ([]byte, error) {
	changes, err := o.changes(declarative)
	if err != nil {
		return nil, err
	}
	out, err := apply(declarative, changes)
	for _, s := range own {
		if err == nil {
			out, err = s.add(out)
		}
	}
	if err != nil {
		return nil, err
	}
	return out, o.verify(out)
}

// verify reads a rendered file again, as Kong will.
func (o Options) verify(out []byte) error {
	if err := Validate("kong.yml", out); err != nil {
		return fmt.Errorf("the rendered kong.yml is wrong: %w", err)
	}
	again, err := o.changes(out)
	if err != nil {
		return err
	}
	for _, c := range again {
		if got := scalar(c.node); fmt.Sprint(got) != c.value || c.isNumber == isText(got) {
			return fmt.Errorf("the rendered kong.yml is wrong: line %d is read as something else", c.node.Line)
		}
	}
	return nil
}

func isText(v any) bool {
	_, ok := v.(string)
	return ok
}

// tlsNote follows the service's protocol when that is https.
var tlsNote = []string{
	"# https needs three settings more on Kong's side; deploy/docs/edge.md has them as one block:",
	"# nginx_proxy_proxy_ssl_verify with nginx_proxy_proxy_ssl_trusted_certificate for requests,",
	"# lua_ssl_trusted_certificate for health checks, SSL_CERT_FILE for the two plugins.",
	"tls_verify: true",
}

// changes are what o sets in a kong.yml.
func (o Options) changes(text []byte) ([]change, error) {
	doc, err := parse("kong.yml", text)
	if err != nil {
		return nil, fmt.Errorf("the kong.yml of this program: %w", err)
	}
	var all []change
	var errs []error
	own := ownConfigs(doc)
	everywhere := func(field, value string) {
		for _, config := range own {
			all = append(all, change{node: get(config, field), value: value})
		}
	}
	if o.IdentityURL != "" {
		at, err := parseServer("identity URL", "http://identity:8081", o.IdentityURL)
		errs = append(errs, err)
		service, upstream := named(get(doc, "services"), serviceName), named(get(doc, "upstreams"), upstreamName)
		protocol := change{node: get(service, "protocol"), value: at.scheme}
		if at.scheme == "https" {
			protocol.below = tlsNote
		}
		all = append(all, protocol,
			change{node: get(service, "port"), value: at.port, isNumber: true},
			change{node: get(upstream, "healthchecks", "active", "type"), value: at.scheme},
			change{node: get(items(get(upstream, "targets"))[0], "target"), value: at.hostPort()})
		everywhere("jwks_url", at.base+jwksPath)
	}
	if o.RedisURL != "" {
		errs = append(errs, checkRedis(o.RedisURL))
		everywhere("redis_url", o.RedisURL)
	}
	if o.Issuer != "" {
		errs = append(errs, checkIssuer(o.Issuer))
		everywhere("issuer", o.Issuer)
	}
	if o.Audience != "" {
		errs = append(errs, checkText("audience", o.Audience))
		for _, config := range own { // the audience of one-time passwords is made of it
			if also := get(config, "also_audience"); also != nil {
				all = append(all, change{node: also, value: o.Audience + strings.TrimPrefix(also.Value, get(config, "audience").Value)})
			}
		}
		everywhere("audience", o.Audience)
	}
	return all, errors.Join(errs...)
}

// ownConfigs are the configs of Earlybird's plugins.
func ownConfigs(doc *yaml.Node) []*yaml.Node {
	var all []*yaml.Node
	for _, p := range collect(doc).plugins {
		if p.name == settings.AuthName || p.name == settings.TagName {
			all = append(all, get(p.node, "config"))
		}
	}
	return all
}

// named returns the element of a list whose name is name, or nil.
func named(list *yaml.Node, name string) *yaml.Node {
	for _, n := range items(list) {
		if text(n, "name") == name {
			return n
		}
	}
	return nil
}
