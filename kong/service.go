package kong

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/earlybird/earlybird/plugin/settings"
)

// Service is a service of one's own behind Kong. It has one route, on which every
// request needs a token.
type Service struct {
	// Name is that of the service and of its route.
	Name string
	// URL is where Kong reaches it: http or https, a host and perhaps a port,
	// nothing more.
	URL string
	// Path is what the paths of its requests begin with, such as /shop. The
	// service sees it too.
	Path string
}

// Block returns what a kong.yml that Render made with o needs for the service: an
// element of its list services. The error lists every value that is wrong.
func Block(o Options, s Service) ([]byte, error) {
	file, err := Render(o)
	if err != nil {
		return nil, errors.Join(s.check(declarative), err)
	}
	if _, err := Render(o, s); err != nil {
		return nil, err
	}
	return s.block(file)
}

// add puts the service at the end of a file's list services.
func (s Service) add(file []byte) ([]byte, error) {
	if err := s.check(file); err != nil {
		return nil, err
	}
	block, err := s.block(file)
	if err != nil {
		return nil, err
	}
	top, err := parse("kong.yml", file)
	if err != nil {
		return nil, err
	}
	lines := bytes.SplitAfter(file, []byte("\n"))
	end := lastLine(get(top, "services"))
	return slices.Concat(bytes.Join(lines[:end], nil), []byte("\n"), block, bytes.Join(lines[end:], nil)), nil
}

// lastLine is the last line of a node whose values have one line each.
func lastLine(n *yaml.Node) int {
	last := n.Line
	for _, item := range n.Content {
		last = max(last, lastLine(item))
	}
	return last
}

var (
	nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]*$`)
	pathForm = regexp.MustCompile(`^(/[A-Za-z0-9_~][A-Za-z0-9._~-]*)+$`)
)

// check refuses what Kong would, and what takes something away from the file's
// own services.
func (s Service) check(file []byte) error {
	top, err := parse("kong.yml", file)
	if err != nil {
		return err
	}
	at, err := parseServer("upstream", "http://shop:8080", s.URL)
	errs := []error{err}
	if err == nil && named(get(top, "upstreams"), at.host) != nil {
		errs = append(errs, fmt.Errorf("upstream: %s is the name of an upstream in kong.yml; give the service's own host", at.host))
	}
	if !nameForm.MatchString(s.Name) {
		errs = append(errs, errors.New("name: must be letters, digits and any of . _ ~ -, with a letter or a digit first, such as shop"))
	}
	if !pathForm.MatchString(s.Path) {
		errs = append(errs, errors.New("path: must be what the paths of its requests begin with, such as /shop: a slash and letters, digits or any of . _ ~ -, perhaps several times, and no slash at the end"))
	}
	for _, e := range slices.Concat(collect(top).services, collect(top).routes) {
		if e.name == s.Name {
			errs = append(errs, fmt.Errorf("name: %s is taken in kong.yml; choose another", s.Name))
			break
		}
	}
	for _, r := range collect(top).routes {
		if slices.ContainsFunc(texts(get(r.node, "paths")), func(path string) bool { return firstPart(path) == firstPart(s.Path) }) {
			errs = append(errs, fmt.Errorf("path: paths that begin with /%s belong to the route %s in kong.yml; choose another", firstPart(s.Path), r.name))
			break
		}
	}
	return errors.Join(errs...)
}

// firstPart is what stands between the first two slashes of a path, which may be
// one of kong.yml's expressions.
func firstPart(path string) string {
	path = strings.TrimPrefix(strings.TrimPrefix(path, "~"), "/")
	if end := strings.IndexAny(path, "/($"); end >= 0 {
		path = path[:end]
	}
	return strings.ReplaceAll(path, `\`, "")
}

// block writes the service with the settings that earlybird-auth has on the
// file's protected route.
func (s Service) block(file []byte) ([]byte, error) {
	at, err := parseServer("upstream", "http://shop:8080", s.URL)
	if err != nil {
		return nil, err
	}
	top, err := parse("kong.yml", file)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "  - name: %s\n    protocol: %s\n", quote(s.Name), at.scheme)
	if at.scheme == "https" {
		b.WriteString("    # kong.conf says what Kong holds the certificate against; deploy/docs/edge.md has the two settings:\n" +
			"    # nginx_proxy_proxy_ssl_verify and nginx_proxy_proxy_ssl_trusted_certificate.\n" +
			"    tls_verify: true\n")
	}
	fmt.Fprintf(&b, `    host: %s
    port: %s
    connect_timeout: 2000
    write_timeout: 15000
    read_timeout: 15000
    retries: 2
    routes:
      # Every request to these paths needs a token, whatever its method.
      - name: %s
        paths: [%s]
        strip_path: false
        preserve_host: false
        plugins:
          - name: %s
            config:
`, quote(at.host), at.port, quote(s.Name), quote("~"+regexp.QuoteMeta(s.Path)+"(/.*)?$"), settings.AuthName)
	for _, p := range collect(top).plugins {
		if p.name != settings.AuthName || p.route == nil || p.route.name != "protected" {
			continue
		}
		for _, m := range members(get(p.node, "config")) {
			value := m.value.Value
			if isText(scalar(m.value)) {
				value = quote(value)
			}
			fmt.Fprintf(&b, "              %s: %s\n", m.key.Value, value)
		}
	}
	return b.Bytes(), nil
}
