package kong

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/plugin/schema"
	"github.com/earlybird/earlybird/plugin/settings"
)

// Fault is one thing wrong with a declarative file.
type Fault struct {
	Line    int    // counted from 1
	Field   string // the path to it, such as services.identity.routes.login
	Problem string // what is wrong and how to put it right
}

func (f Fault) String() string {
	if f.Field == "" {
		return fmt.Sprintf("line %d: %s", f.Line, f.Problem)
	}
	return fmt.Sprintf("line %d: %s: %s", f.Line, f.Field, f.Problem)
}

// Faults is everything that is wrong with a file, by line.
type Faults []Fault

func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// Unchecked says what Validate leaves to Kong.
const Unchecked = "everything else is Kong's to judge, and \"kong start\" is what judges it"

// Validate checks what Earlybird knows of a declarative file: that it is YAML or
// JSON as Kong reads it, by the file's name; that the config of earlybird-auth
// and earlybird-tag is what these take; and, if it has one of the two or a route
// to identity, what Earlybird needs:
//
//   - identity's routes that take a token carry earlybird-auth, and the login
//     route earlybird-tag;
//   - the global scope and every route without earlybird-auth remove a client's
//     own Earlybird header;
//   - all agree on issuer and audience.
//
// The error is Faults, or says why Kong cannot read the file. It repeats no
// value, since that may hold a password.
func Validate(name string, data []byte) error {
	top, err := parse(name, data)
	if err != nil {
		return fmt.Errorf("not a declarative configuration: %w", err)
	}
	v := &validator{file: collect(top)}
	v.configs()
	if identity := v.identity(); len(v.own) > 0 || len(identity) > 0 {
		v.needs(identity)
	}
	slices.SortStableFunc(v.faults, func(a, b Fault) int { return a.Line - b.Line })
	if len(v.faults) > 0 {
		return v.faults
	}
	return nil
}

type validator struct {
	*file
	own    []*entity // the enabled plugins of Earlybird
	faults Faults
}

func (v *validator) fault(n *yaml.Node, field, format string, args ...any) {
	v.faults = append(v.faults, Fault{n.Line, field, fmt.Sprintf(format, args...)})
}

// configs holds every config of the two plugins against its schema.
func (v *validator) configs() {
	schemas := settings.Schemas()
	for _, p := range v.plugins {
		s, isOwn := schemas[p.name]
		if !isOwn {
			continue
		}
		if p.enabled() {
			v.own = append(v.own, p)
		}
		config := get(p.node, "config")
		at, values := p.node, map[string]any{}
		if config != nil {
			at = config
		}
		empty := config == nil || scalar(config) == nil || config.Kind == yaml.SequenceNode && len(config.Content) == 0 // which are one in Lua
		if !empty && config.Kind != yaml.MappingNode {
			v.fault(at, p.path+".config", "expected a mapping of fields to values")
			continue
		}
		lines := map[string]*yaml.Node{}
		for _, m := range members(config) {
			values[m.key.Value], lines[m.key.Value] = scalar(m.value), m.key
		}
		for _, f := range schema.Validate(s, values) {
			n := at
			if lines[f.Field] != nil {
				n = lines[f.Field]
			}
			v.fault(n, p.path+".config."+f.Field, "%s", advice(f))
		}
	}
}

func advice(f schema.Fault) string {
	if f.Message == schema.UnknownField {
		return f.Message + "; remove it, or use one of: " + f.Hint
	}
	return f.Message + " (" + f.Hint + ")"
}

// protected are requests that need a token.
var protected = []string{
	"GET /promotion", "GET /users/me", "GET /users/01JZX3V5W6Y7Z8A9B0CDEFGHJK", "POST /logout",
	"PUT /users/me/password", "PUT /users/01JZX3V5W6Y7Z8A9B0CDEFGHJK/password",
}

const login = "POST /login"

func (f *file) answering(request string, routes []*entity) []*entity {
	method, path, _ := strings.Cut(request, " ")
	return answers(routes, method, path)
}

// identity returns the routes to the identity service: those of the services
// that have the login or the promotion, and of others at the same address.
func (v *validator) identity() []*entity {
	var services []*entity
	for _, s := range v.services {
		routes := v.of(s)
		tagged := slices.ContainsFunc(routes, func(r *entity) bool { return v.plugin(r, settings.TagName) != nil })
		// A route for any path says nothing.
		routes = slices.DeleteFunc(routes, (*entity).takesAny)
		if tagged || len(v.answering(login, routes)) > 0 && len(v.answering(protected[0], routes)) > 0 {
			services = append(services, s)
		}
	}
	var routes []*entity
	for _, s := range v.services {
		if slices.ContainsFunc(services, func(known *entity) bool { return known == s || known.target() == s.target() }) {
			routes = append(routes, v.of(s)...)
		}
	}
	return routes
}

func (f *file) of(service *entity) []*entity {
	var all []*entity
	for _, r := range f.routes {
		if r.service == service {
			all = append(all, r)
		}
	}
	return all
}

// target is where a service's requests go.
func (e *entity) target() string {
	return fmt.Sprint(text(e.node, "url"), text(e.node, "host"), scalarOf(e.node, "port"))
}

func (v *validator) needs(identity []*entity) {
	missing := map[string]bool{}
	carry := func(request, plugin, why string) {
		for _, r := range v.answering(request, identity) {
			if v.plugin(r, plugin) == nil && !missing[r.path+plugin] {
				missing[r.path+plugin] = true
				v.fault(r.node, r.path, "%s comes here, and %s does not run: add the plugin to this route; %s", request, plugin, why)
			}
		}
	}
	for _, request := range protected {
		carry(request, settings.AuthName, "without it no token is checked here")
	}
	carry(login, settings.TagName, "without it no login response reports a rank")
	v.header()
	v.agree()
}

const clearing = `kong.service.request.clear_header("Earlybird")`

// header wants a client's own Earlybird header removed wherever earlybird-auth
// does not replace it.
func (v *validator) header() {
	global := v.plugin(&entity{}, "pre-function")
	if global == nil || !clears(global) {
		v.fault(v.top, "plugins", "no global pre-function removes a client's own Earlybird header: add one with the line %s under config.access", clearing)
	}
	for _, r := range v.routes {
		own := v.plugin(r, "pre-function")
		if own != global && !clears(own) && r.http() && v.plugin(r, settings.AuthName) == nil {
			v.fault(own.node, own.path, "it runs on %s in the place of the global one, and lets a client's own Earlybird header through: add the line %s under config.access", r.path, clearing)
		}
	}
}

var (
	luaComment  = regexp.MustCompile(`(?s)--\[\[.*?\]\]|--[^\n]*`)
	clearHeader = regexp.MustCompile(`kong\.service\.request\.clear_header\s*\(?\s*(?:"|'|\[\[)(?i:earlybird)(?:"|'|\]\])`)
)

// clears reports whether a pre-function removes the header, as far as can be
// seen without running it.
func clears(p *entity) bool {
	return slices.ContainsFunc(texts(get(p.node, "config", "access")), func(code string) bool {
		return clearHeader.MatchString(luaComment.ReplaceAllString(code, ""))
	})
}

// agree wants one issuer and one audience.
func (v *validator) agree() {
	first := map[string]*entity{}
	for _, p := range v.own {
		for field, flag := range map[string]string{"issuer": "--issuer", "audience": "--audience"} {
			value := setting(p, field)
			if value == "" {
				continue // which is a fault of its own
			}
			if first[field] == nil {
				first[field] = p
			} else if setting(first[field], field) != value {
				v.fault(p.node, p.path+".config."+field, "differs from that of %s on line %d; both must be what identity's %s says", first[field].path, first[field].node.Line, flag)
			}
		}
		if also := setting(p, "also_audience"); also != "" && also != token.PasswordAudience(setting(p, "audience")) {
			v.fault(get(p.node, "config", "also_audience"), p.path+".config.also_audience", "must be the audience with /password after it, which is what a one-time password is for")
		}
	}
}

// setting returns a string of a plugin's config, or its default.
func setting(p *entity, field string) string {
	if get(p.node, "config", field) != nil {
		return text(p.node, "config", field)
	}
	s := settings.Schemas()[p.name]
	value, _ := schema.Fill(s, nil)[field].(string)
	return value
}
