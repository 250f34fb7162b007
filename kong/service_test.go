package kong

import (
	"bytes"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var shop = Service{Name: "shop", URL: "http://shop:8080", Path: "/shop"}

// TestBlock: the block reads as what was asked for, with the settings of the
// protected route, and Render puts the same one where it belongs.
func TestBlock(t *testing.T) {
	tests := []struct {
		name           string
		service        Service
		options        Options
		protocol, host string
		port           int
		path           string
	}{
		{"a name", shop, Options{}, "http", "shop", 8080, "~/shop(/.*)?$"},
		{"https", Service{"a~b", "https://shop.bank.example", "/a/b.c/d-e"}, Options{Issuer: "https://bank.example", Audience: "null"}, "https", "shop.bank.example", 443, `~/a/b\.c/d-e(/.*)?$`},
		{"IPv6", Service{"1", "http://[::1]", "/on"}, Options{RedisURL: "redis://r:1/0", IdentityURL: "http://i"}, "http", "::1", 80, "~/on(/.*)?$"},
		{"a word of YAML", Service{"null", "http://null:1", "/0x1e"}, Options{Audience: `a "b" \ 'c': #d`}, "http", "null", 1, "~/0x1e(/.*)?$"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			block, err := Block(tt.options, tt.service)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := Render(tt.options, tt.service)
			if err != nil {
				t.Fatal(err)
			}
			without, err := Render(tt.options)
			if err != nil {
				t.Fatal(err)
			}
			if before, after, ok := strings.Cut(string(whole), "\n"+string(block)); !ok || before+after != string(without) {
				t.Errorf("Render adds something else than\n%s", block)
			}
			var got rendered
			if err := yaml.Unmarshal(whole, &got); err != nil || len(got.Services) != 2 {
				t.Fatalf("%d services, %v", len(got.Services), err)
			}
			top, err := parse("kong.yml", whole)
			if err != nil {
				t.Fatal(err)
			}
			service := named(get(top, "services"), tt.service.Name)
			if got := got.Services[1]; got.Protocol != tt.protocol || got.Host != tt.host || got.Port != tt.port || (got.TLSVerify != nil) != (tt.protocol == "https") {
				t.Errorf("%+v", got)
			}
			route := items(get(service, "routes"))[0]
			if paths := texts(get(route, "paths")); len(paths) != 1 || paths[0] != tt.path || text(route, "name") != tt.service.Name {
				t.Errorf("route %s with paths %q", text(route, "name"), paths)
			}
			mine, protected := got.Services[1].Routes[0].Plugins, got.Services[0].Routes[1].Plugins
			if len(mine) != 1 || mine[0].Name != "earlybird-auth" || len(mine[0].Config) != len(protected[0].Config) {
				t.Fatalf("plugins %+v", mine)
			}
			for field, want := range protected[0].Config {
				if mine[0].Config[field] != want {
					t.Errorf("%s = %v, want %v as on the protected route", field, mine[0].Config[field], want)
				}
			}
		})
	}
}

// TestBlockTakesItsPathsAlone: what begins with other letters is not the
// service's.
func TestBlockTakesItsPathsAlone(t *testing.T) {
	whole, err := Render(Options{}, shop, Service{"other", "http://other", "/shops"})
	if err != nil {
		t.Fatal(err)
	}
	top, err := parse("kong.yml", whole)
	if err != nil {
		t.Fatal(err)
	}
	routes := collect(top).routes
	for path, want := range map[string]string{
		"/shop": "shop", "/shop/": "shop", "/shop/price": "shop", "/shop/a/b": "shop", "/shops": "other", "/shops/x": "other",
		"/shopper": "", "/a/shop": "", "/promotion": "protected", "/docs/shop": "public",
	} {
		found := answers(routes, "GET", path)
		if len(found) > 1 || (len(found) == 1) != (want != "") || want != "" && found[0].name != want {
			t.Errorf("%s goes to %v, want %q", path, found, want)
		}
	}
}

func TestBlockRefuses(t *testing.T) {
	with := func(change func(s *Service)) Service {
		s := shop
		change(&s)
		return s
	}
	name := func(v string) Service { return with(func(s *Service) { s.Name = v }) }
	url := func(v string) Service { return with(func(s *Service) { s.URL = v }) }
	path := func(v string) Service { return with(func(s *Service) { s.Path = v }) }
	tests := []struct {
		name    string
		service Service
		options Options
		want    []string
	}{
		{"nothing", Service{}, Options{}, []string{"name:", "upstream:", "path:"}},
		{"everything", Service{"a b", "shop", "shop"}, Options{IdentityURL: "x", Issuer: "y"}, []string{"name:", "upstream:", "path:", "identity URL:", "issuer:"}},
		{"a name with a line break", name("shop\n  - name: x"), Options{}, []string{"name:"}},
		{"a name beyond ASCII", name("läden"), Options{}, []string{"name:"}},
		{"a service's name", name("identity"), Options{}, []string{"name: identity is taken"}},
		{"a route's name", name("login"), Options{}, []string{"name: login is taken"}},
		{"an upstream with a path", url("http://shop/v1"), Options{}, []string{"upstream:", "only scheme, host and port"}},
		{"a user in an upstream", url("http://u:hunter2@shop"), Options{}, []string{"upstream:"}},
		{"https to an address", url("https://10.0.0.5"), Options{}, []string{"upstream:", "host name"}},
		{"identity's upstream", url("http://identity-replicas:8081"), Options{}, []string{"upstream:", "the service's own host"}},
		{"every path", path("/"), Options{}, []string{"path:"}},
		{"no slash", path("shop"), Options{}, []string{"path:"}},
		{"a slash at the end", path("/shop/"), Options{}, []string{"path:"}},
		{"two slashes", path("//shop"), Options{}, []string{"path:"}},
		{"a way up", path("/shop/../users"), Options{}, []string{"path:"}},
		{"a hidden folder", path("/.well-known/shop"), Options{}, []string{"path:"}},
		{"an expression", path("/shop|/users"), Options{}, []string{"path:"}},
		{"percent", path("/shop%20"), Options{}, []string{"path:"}},
		{"a line break in a path", path("/shop\n"), Options{}, []string{"path:"}},
		{"login", path("/login"), Options{}, []string{"path:", "begin with /login belong to the route login"}},
		{"below the users", path("/users/me/orders"), Options{}, []string{"path:", "/users"}},
		{"the description", path("/openapi.json"), Options{}, []string{"path:", "/openapi.json"}},
		{"below the docs", path("/docs/shop"), Options{}, []string{"path:", "/docs"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			block, err := Block(tt.options, tt.service)
			if err == nil || block != nil {
				t.Fatalf("error %v, and\n%s", err, block)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q repeats a password", err)
			}
		})
	}
	if _, err := Render(Options{}, shop, shop); err == nil || !strings.Contains(err.Error(), "name: shop is taken") {
		t.Errorf("the same service twice: %v", err)
	}
	if out, err := Render(Options{}); err != nil || !bytes.Equal(out, declarative) {
		t.Errorf("without services: %v", err)
	}
}
