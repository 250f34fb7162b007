package httpapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/earlybird/earlybird/identity/campaign"
)

// contract checks answers against the description that the service gives of
// itself.
type contract struct {
	document map[string]any
	schemas  *jsonschema.Compiler
	seen     map[string]int // "operation status": how often
}

func newContract(t *testing.T, s *service) *contract {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(s.get(t, "/openapi.json").body))
	must(t, err)
	inline(document.(map[string]any))
	c := &contract{document.(map[string]any), jsonschema.NewCompiler(), map[string]int{}}
	c.schemas.AssertFormat()
	must(t, c.schemas.AddResource("openapi.json", document))
	return c
}

// inline puts the answers that operations share where they are referred to.
func inline(document map[string]any) {
	for _, operations := range document["paths"].(map[string]any) {
		for _, operation := range operations.(map[string]any) {
			responses := at(operation, "responses").(map[string]any)
			for status, response := range responses {
				if ref, ok := at(response, "$ref").(string); ok {
					responses[status] = at(document, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
				}
			}
		}
	}
}

// at returns a member of a member ... of an object, or nil.
func at(object any, path ...string) any {
	for _, name := range path {
		members, _ := object.(map[string]any)
		object = members[name]
	}
	return object
}

// pointer is a JSON pointer (RFC 6901) into the document.
func pointer(path ...string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1", "%", "%25", "{", "%7B", "}", "%7D")
	text := "openapi.json#"
	for _, name := range path {
		text += "/" + escape.Replace(name)
	}
	return text
}

// validate checks a JSON text or value against the schema at a place.
func (c *contract) validate(value any, path ...string) error {
	schema, err := c.schemas.Compile(pointer(path...))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// everywhere are the headers of every answer, which no operation describes.
var everywhere = map[string]bool{
	"Content-Type": true, "Content-Length": true, "Date": true, "Connection": true, "X-Request-Id": true,
	"X-Content-Type-Options": true, "Referrer-Policy": true, "Content-Security-Policy": true,
}

// check holds an answer against the description of its operation.
func (c *contract) check(t *testing.T, method, route string, got answer) {
	t.Helper()
	operation := strings.ToLower(method)
	status := strconv.Itoa(got.status)
	c.seen[operation+" "+route+" "+status]++
	path := []string{"paths", route, operation, "responses", status}
	described, ok := at(c.document, path...).(map[string]any)
	if !ok {
		t.Errorf("%s %s: %s is not described: %s", method, route, status, got.body)
		return
	}
	headers, _ := described["headers"].(map[string]any)
	known := map[string]bool{}
	for name, of := range headers {
		known[http.CanonicalHeaderKey(name)] = true
		always := at(of, "required") == true || got.status < 400
		if always && got.header.Get(name) == "" {
			t.Errorf("%s %s %s: header %s is described and not there", method, route, status, name)
		}
	}
	for name := range got.header {
		if !everywhere[name] && !known[name] {
			t.Errorf("%s %s %s: header %s is not described", method, route, status, name)
		}
	}
	for _, name := range []string{"X-Request-Id", "X-Content-Type-Options", "Referrer-Policy", "Content-Security-Policy"} {
		if got.header.Get(name) == "" {
			t.Errorf("%s %s %s: no %s", method, route, status, name)
		}
	}
	c.checkBody(t, method+" "+route+" "+status, described, path, got)
}

func (c *contract) checkBody(t *testing.T, what string, described map[string]any, path []string, got answer) {
	t.Helper()
	media, _, _ := strings.Cut(got.header.Get("Content-Type"), ";")
	content, _ := described["content"].(map[string]any)
	if len(content) == 0 {
		if got.body != "" || media != "" {
			t.Errorf("%s: a body of type %q where none is described", what, media)
		}
		return
	}
	if content[media] == nil {
		t.Errorf("%s is %q, described are %v", what, media, slices.Collect(maps.Keys(content)))
		return
	}
	if !strings.HasSuffix(media, "json") {
		return
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(got.body))
	if err == nil {
		err = c.validate(value, append(slices.Clone(path), "content", media, "schema")...)
	}
	if err != nil {
		t.Errorf("%s: %s: %v", what, got.body, err)
	}
	if status := at(value, "status"); media == "application/problem+json" && fmt.Sprint(status) != strconv.Itoa(got.status) {
		t.Errorf("%s: the problem says %v", what, status)
	}
}

// resolved follows a $ref within the document.
func (c *contract) resolved(schema any) map[string]any {
	object, _ := schema.(map[string]any)
	if ref, ok := object["$ref"].(string); ok {
		return c.resolved(at(c.document, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...))
	}
	return object
}

// attempt is one request to an operation.
type attempt struct {
	name    string
	body    string
	options []option
	id      string // in the path; empty: the user's own
}

// bodies makes valid and invalid bodies from the schema of an operation's.
func (c *contract) bodies(schema map[string]any, valid map[string]any) []attempt {
	isJSON := header("Content-Type", "application/json")
	made := []attempt{}
	add := func(name, body string) {
		made = append(made, attempt{name: name, body: body, options: []option{isJSON}})
	}
	with := func(name string, value any) string {
		changed := maps.Clone(valid)
		changed[name] = value
		text, _ := json.Marshal(changed)
		return string(text)
	}
	good, _ := json.Marshal(valid)
	add("valid", string(good))
	properties, _ := schema["properties"].(map[string]any)
	for name, property := range properties {
		without := maps.Clone(valid)
		delete(without, name)
		text, _ := json.Marshal(without)
		add("without "+name, string(text))
		for kind, value := range map[string]any{"null": nil, "number": 7, "array": []int{}, "object": map[string]int{}, "bool": true, "empty": "", "space": " ", "NUL": "a\x00bcdefgh", "emoji": "👩‍👩‍👧‍👦👩‍👩‍👧‍👦"} {
			add(name+" is "+kind, with(name, value))
		}
		if longest, ok := at(property, "maxLength").(json.Number); ok {
			n, _ := longest.Int64()
			add(name+" is as long as may be", with(name, strings.Repeat("x", int(n))))
			add(name+" is too long", with(name, strings.Repeat("x", int(n)+1)))
		}
	}
	add("another member", with("admin", true))
	for name, body := range map[string]string{
		"nothing": "", "null": "null", "array": "[]", "text": `"x"`, "cut off": string(good[:len(good)/2]), "twice": string(good) + string(good),
		"not UTF-8": "{\"username\":\"\xff\"}", "duplicate": `{"username":"a","username":"b"}`, "deep": strings.Repeat("[", 5000),
		"large": `{"username":"` + strings.Repeat("x", 17<<10) + `"}`,
	} {
		add(name, body)
	}
	made = append(made,
		attempt{name: "no type", body: string(good), options: []option{header("Content-Type", "")}},
		attempt{name: "a form", body: "username=alice", options: []option{header("Content-Type", "application/x-www-form-urlencoded")}})
	return made
}

// tokens makes requests with every kind of token.
func (s *service) tokens(t *testing.T, good string) []attempt {
	stranger := s.token(t, "STRANGER")
	return []attempt{
		{name: "no token"},
		{name: "another scheme", options: []option{header("Authorization", "Basic YTpi")}},
		{name: "no JWT", options: []option{bearer("x")}},
		{name: "forged", options: []option{bearer(good[:len(good)-6] + "AAAAAA")}},
		{name: "two headers", options: []option{bearer(good), bearer(good)}},
		{name: "not UTF-8", options: []option{header("Authorization", "Bearer \xff\xfe")}},
		{name: "a stranger's", options: []option{bearer(stranger)}},
		{name: "good", options: []option{bearer(good)}},
		{name: "good, If-None-Match", options: []option{bearer(good), header("If-None-Match", "*")}},
		{name: "good, another id", options: []option{bearer(good)}, id: "NOBODY"},
		{name: "good, a strange id", options: []option{bearer(good)}, id: "%00%2F%c3%a9"},
		{name: "good, a long URI", options: []option{bearer(good)}, id: strings.Repeat("a", 9000)},
		{name: "good, a large header", options: []option{bearer(good), header("X-Pad", strings.Repeat("p", 33<<10))}},
	}
}

// attempts lists what is sent to an operation.
func (c *contract) attempts(t *testing.T, s *service, operation map[string]any, fresh func() (id, raw string, valid map[string]any)) []func() attempt {
	guarded := at(operation["security"].([]any)[0], "bearer") != nil
	schema := c.resolved(at(operation, "requestBody", "content", "application/json", "schema"))
	var all []func() attempt
	// Each is made anew with an account of its own: one may end another's token.
	count := func(list func(raw string, valid map[string]any) []attempt) {
		_, raw, valid := fresh()
		for i := range list(raw, valid) {
			all = append(all, func() attempt {
				id, raw, valid := fresh()
				a := list(raw, valid)[i]
				if a.id == "" {
					a.id = id
				}
				return a
			})
		}
	}
	if guarded {
		count(func(raw string, valid map[string]any) []attempt {
			list := s.tokens(t, raw)
			if schema != nil {
				body, _ := json.Marshal(valid)
				for i := range list {
					list[i].body = string(body)
					list[i].options = append(list[i].options, header("Content-Type", "application/json"))
				}
			}
			return list
		})
	}
	if schema != nil {
		count(func(raw string, valid map[string]any) []attempt {
			list := c.bodies(schema, valid)
			slices.SortFunc(list, func(a, b attempt) int { return strings.Compare(a.name, b.name) })
			for i := range list {
				if guarded {
					list[i].options = append(list[i].options, bearer(raw))
				}
			}
			return list
		})
	}
	if !guarded && schema == nil {
		all = append(all, func() attempt { return attempt{name: "plain"} },
			func() attempt {
				return attempt{name: "large header", options: []option{header("X-Pad", strings.Repeat("p", 33<<10))}}
			})
	}
	return all
}

// TestContract sends each operation of openapi.json what its schemas allow and
// what they do not, and holds every answer against it.
func TestContract(t *testing.T) { testContract(t, start(t)) }

func TestContractWithCodes(t *testing.T) { testContract(t, startWithCodes(t)) }

func testContract(t *testing.T, s *service) {
	s.promotions.held = campaign.Promotion{
		Grant: campaign.Grant{Campaign: 3, Rank: 42, GrantedAt: s.now}, Name: "Early Bird", Discount: 30,
	}
	c := newContract(t, s)
	accounts := 0
	for route, operations := range c.document["paths"].(map[string]any) {
		for method, operation := range operations.(map[string]any) {
			fresh := func() (string, string, map[string]any) {
				accounts++
				name := fmt.Sprintf("user-%d", accounts)
				id := s.register(t, name)
				switch route {
				case "/users":
					if s.codes {
						return id, "", map[string]any{"username": name + "-new", "password": goodPassword, "code": s.code(t)}
					}
					return id, "", map[string]any{"username": name + "-new", "password": goodPassword}
				case "/login":
					return id, "", map[string]any{"username": name, "password": goodPassword}
				}
				return id, s.token(t, id), map[string]any{"current": goodPassword, "new": newPassword}
			}
			for _, make := range c.attempts(t, s, operation.(map[string]any), fresh) {
				a := make()
				t.Run(method+" "+route+" "+a.name, func(t *testing.T) {
					var body io.Reader
					if a.body != "" {
						body = strings.NewReader(a.body)
					}
					c.check(t, method, route, s.do(t, strings.ToUpper(method), strings.Replace(route, "{id}", a.id, 1), body, a.options...))
				})
			}
		}
	}
	for _, want := range []string{
		"post /users 201", "post /users 400", "post /users 413", "post /users 415", "post /users 422", "post /login 200", "post /login 401",
		"get /users/{id} 200", "get /users/{id} 304", "get /users/{id} 401", "get /users/{id} 404", "get /users/{id} 414", "get /users/{id} 431",
		"get /users/{id} 400", "get /promotion 200", "post /logout 204", "put /users/{id}/password 204", "put /users/{id}/password 422",
		"get /.well-known/jwks.json 200", "get /livez 200", "get /readyz 200", "get /servingz 200", "get /docs 200",
	} {
		if c.seen[want] == 0 {
			t.Errorf("no answer was %s", want)
		}
	}
}

// TestExamplesAreValid holds the description's examples against its schemas.
func TestExamplesAreValid(t *testing.T) {
	c := newContract(t, start(t))
	checked := 0
	for route, operations := range c.document["paths"].(map[string]any) {
		for method, operation := range operations.(map[string]any) {
			for status, response := range at(operation, "responses").(map[string]any) {
				content, _ := at(response, "content").(map[string]any)
				for media, of := range content {
					shown, _ := at(of, "examples").(map[string]any)
					for name, example := range shown {
						checked++
						if err := c.validate(at(example, "value"), "paths", route, method, "responses", status, "content", media, "schema"); err != nil {
							t.Errorf("%s %s %s, example %s: %v", method, route, status, name, err)
						}
					}
				}
			}
		}
	}
	for name, schema := range at(c.document, "components", "schemas").(map[string]any) {
		properties, _ := at(schema, "properties").(map[string]any)
		for property, of := range properties {
			shown, _ := at(of, "examples").([]any)
			for _, example := range shown {
				checked++
				if err := c.validate(example, "components", "schemas", name, "properties", property); err != nil {
					t.Errorf("schema %s, example of %s: %v", name, property, err)
				}
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d examples found", checked)
	}
}
