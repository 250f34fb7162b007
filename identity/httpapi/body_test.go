package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/httpapi"
)

// secret is sent in every wrong place, and must come back in no answer and no
// line of the log.
const secret = "hunter2-SECRET-value"

func fields(errs []httpapi.FieldError) []string {
	var names []string
	for _, e := range errs {
		names = append(names, e.Field)
	}
	return names
}

type badBody struct {
	body    string
	options []option
	status  int
	fields  []string
}

func badBodies() map[string]badBody {
	withType := func(values ...string) []option {
		options := []option{func(r *http.Request) { r.Header["Content-Type"] = nil }}
		for _, v := range values {
			options = append(options, header("Content-Type", v))
		}
		return options
	}
	good := credentials("bob", secret)
	long := strings.Repeat("x", 600)
	return map[string]badBody{
		"empty":                    {"", nil, 400, nil},
		"not JSON":                 {"username=" + secret, nil, 400, nil},
		"cut off":                  {good[:len(good)-1], nil, 400, nil},
		"trailing data":            {good + good, nil, 400, nil},
		"trailing text":            {good + secret, nil, 400, nil},
		"byte order mark":          {"\ufeff" + good, nil, 400, nil},
		"only space":               {"  ", nil, 400, nil},
		"raw NUL":                  {"{\"username\":\"b\x00b\",\"password\":\"" + secret + "\"}", nil, 400, nil},
		"not UTF-8":                {"{\"username\":\"b\xff\",\"password\":\"" + secret + "\"}", nil, 400, nil},
		"UTF-8 surrogate":          {"{\"username\":\"b\xed\xa0\x80\",\"password\":\"" + secret + "\"}", nil, 400, nil},
		"overlong UTF-8":           {"{\"username\":\"b\xc0\x80\",\"password\":\"" + secret + "\"}", nil, 400, nil},
		"UTF-16":                   {"\xff\xfe{\x00}\x00", nil, 400, nil},
		"half a surrogate pair":    {`{"username":"bob","password":"` + secret + `\ud800"}`, nil, 400, nil},
		"surrogates swapped":       {`{"username":"bob","password":"` + secret + `\udc00\ud800"}`, nil, 400, nil},
		"surrogate, then text":     {`{"username":"bob","password":"\ud83dxxxxxx` + secret + `"}`, nil, 400, nil},
		"name twice":               {`{"username":"bob","password":"` + secret + `","password":"` + secret + `2"}`, nil, 400, nil},
		"name twice, escaped":      {`{"username":"bob","password":"x","p\u0061ssword":"` + secret + `"}`, nil, 400, nil},
		"name twice, deep":         {`{"username":[{"a":1,"a":2}],"password":"` + secret + `"}`, nil, 400, nil},
		"deep nesting":             {strings.Repeat("[", 8000) + strings.Repeat("]", 8000), nil, 422, []string{"body"}},
		"deeper, cut off":          {strings.Repeat("[", 16000), nil, 400, nil},
		"null":                     {"null", nil, 422, []string{"body"}},
		"list":                     {`["` + secret + `"]`, nil, 422, []string{"body"}},
		"text":                     {`"` + secret + `"`, nil, 422, []string{"body"}},
		"number":                   {"1e999", nil, 422, []string{"body"}},
		"no members":               {"{}", nil, 422, []string{"username", "password"}},
		"no password":              {`{"username":"bob"}`, nil, 422, []string{"password"}},
		"empty username":           {credentials("", secret), nil, 422, []string{"username"}},
		"empty password":           {credentials("bob", ""), nil, 422, []string{"password"}},
		"username null":            {`{"username":null,"password":"` + secret + `"}`, nil, 422, []string{"username"}},
		"password a number":        {`{"username":"bob","password":12345678}`, nil, 422, []string{"password"}},
		"password a list":          {`{"username":"bob","password":["` + secret + `"]}`, nil, 422, []string{"password"}},
		"password an object":       {`{"username":"bob","password":{"a":"` + secret + `"}}`, nil, 422, []string{"password"}},
		"both wrong":               {`{"username":true,"password":false}`, nil, 422, []string{"username", "password"}},
		"unknown member":           {`{"username":"bob","password":"` + secret + `","is_admin":true}`, nil, 422, []string{"is_admin"}},
		"other case":               {`{"Username":"bob","password":"` + secret + `"}`, nil, 422, []string{"username", "Username"}},
		"unknown, secret name":     {`{"username":"bob","password":"x1234567","` + secret + `":1}`, nil, 422, []string{"body"}},
		"$schema":                  {`{"$schema":"x","username":"bob","password":"` + secret + `"}`, nil, 422, []string{"body"}},
		"huge username":            {credentials(long, secret), nil, 422, []string{"username"}},
		"huge password":            {credentials("bob", secret+long), nil, 422, []string{"password"}},
		"over 16 KiB":              {credentials("bob", secret+strings.Repeat("x", httpapi.MaxBody)), nil, 413, nil},
		"10 MB":                    {strings.Repeat("x", 10<<20), nil, 413, nil},
		"no content type":          {good, withType(), 415, nil},
		"form":                     {"username=bob&password=" + secret, withType("application/x-www-form-urlencoded"), 415, nil},
		"text/plain":               {good, withType("text/plain"), 415, nil},
		"another +json":            {good, withType("application/merge-patch+json"), 415, nil},
		"junk content type":        {good, withType(";;;" + secret), 415, nil},
		"two content types":        {good, withType("application/json", "text/plain"), 415, nil},
		"latin1":                   {good, withType("application/json; charset=latin1"), 415, nil},
		"compressed":               {good, []option{header("Content-Encoding", "gzip")}, 415, nil},
		"empty, and no type":       {"", withType(), 400, nil},
		"over 16 KiB, and no type": {strings.Repeat("x", 20000), withType(), 413, nil},
	}
}

// TestUnsupportedMediaType: 415 says by its header whether the media type or the
// content coding is the reason (RFC 9110 section 15.5.16).
func TestUnsupportedMediaType(t *testing.T) {
	s := start(t)
	good := credentials("bob", secret)
	for name, c := range map[string]struct {
		options                []option
		accept, acceptEncoding string
	}{
		"media type":     {[]option{header("Content-Type", "text/plain")}, "application/json", ""},
		"content coding": {[]option{header("Content-Type", "application/json"), header("Content-Encoding", "gzip")}, "", "identity"},
		"both":           {[]option{header("Content-Type", "text/plain"), header("Content-Encoding", "br")}, "", "identity"},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.post(t, "/users", good, c.options...)
			if got.status != 415 || got.header.Get("Accept") != c.accept || got.header.Get("Accept-Encoding") != c.acceptEncoding {
				t.Errorf("%d, Accept %q, Accept-Encoding %q: %s", got.status, got.header.Get("Accept"), got.header.Get("Accept-Encoding"), got.body)
			}
			got.problem(t)
		})
	}
}

func TestBadBodies(t *testing.T) {
	s := start(t)
	for name, c := range badBodies() {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/users", "/login"} {
				for _, chunked := range []bool{false, true} {
					got := s.sendBad(t, path, c, chunked)
					p := got.problem(t)
					if got.status != c.status || !equal(fields(p.Errors), c.fields) {
						t.Errorf("POST %s (chunked %v): %d %s, want %d naming %v", path, chunked, got.status, got.body, c.status, c.fields)
					}
					if strings.Contains(got.body, secret) || strings.Contains(got.body, "12345678") {
						t.Errorf("the answer repeats what was sent: %s", got.body)
					}
				}
			}
		})
	}
	if logs := s.logs.String(); strings.Contains(logs, secret) {
		t.Errorf("the log has what was sent: %s", logs)
	}
	if n := len(s.store.Attempts()); n != 0 {
		t.Errorf("%d bad bodies reached the accounts", n)
	}
}

func (s *service) sendBad(t *testing.T, path string, c badBody, chunked bool) answer {
	t.Helper()
	body := io.Reader(strings.NewReader(c.body))
	if chunked {
		body = struct{ io.Reader }{body}
	}
	return s.do(t, http.MethodPost, path, body, append([]option{header("Content-Type", "application/json")}, c.options...)...)
}

func TestGoodBodies(t *testing.T) {
	s := start(t)
	cases := map[string]struct {
		body    string
		options []option
	}{
		"charset":        {credentials("anna", goodPassword), []option{header("Content-Type", "Application/JSON; charset=UTF-8")}},
		"white space":    {" \r\n" + credentials("bertha", goodPassword) + "\n", nil},
		"escapes":        {`{"\u0075sername":"c\u0061rla","password":"correct \ud83d\ude00 horse \\ud800"}`, nil},
		"other order":    {`{"password":"` + goodPassword + `","username":"dora"}`, nil},
		"any accept":     {credentials("emma", goodPassword), []option{header("Accept", "application/cbor, json;q=0.1, text/html")}},
		"accept nothing": {credentials("frida", goodPassword), []option{header("Accept", "*/*;q=0")}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := s.post(t, "/users", c.body, c.options...); got.status != 201 || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("%d %v %s", got.status, got.header, got.body)
			}
		})
	}
}

// raw sends bytes as they are and reads one answer.
func (s *service) raw(t *testing.T, request string, finish bool) answer {
	t.Helper()
	at, err := url.Parse(s.url)
	must(t, err)
	conn, err := net.Dial("tcp", at.Host)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, request)
	must(t, err)
	if finish {
		must(t, conn.(*net.TCPConn).CloseWrite())
	}
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	must(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(t, err)
	return answer{status: res.StatusCode, header: res.Header, body: string(body)}
}

func TestLyingLengths(t *testing.T) {
	s := start(t)
	head := "POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	body := credentials("alice", goodPassword)
	cases := map[string]struct {
		request string
		status  int
	}{
		"claims less":    {fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body)-1, body), 400},
		"claims more":    {fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body)+1, body), 400},
		"claims 1 GB":    {fmt.Sprintf("%sContent-Length: 1000000000\r\n\r\n%s", head, body), 413},
		"sends 10 MB":    {fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, 10<<20, strings.Repeat("x", 10<<20)), 413},
		"endless chunks": {head + "Transfer-Encoding: chunked\r\n\r\n4000\r\n" + strings.Repeat("x", 0x4000) + "\r\n4000\r\n" + strings.Repeat("x", 0x4000), 413},
		"broken chunks":  {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := s.raw(t, c.request, true)
			if got.status != c.status {
				t.Fatalf("%d %s, want %d", got.status, got.body, c.status)
			}
			got.problem(t)
		})
	}
	if got := s.post(t, "/users", body); got.status != 201 {
		t.Errorf("a bad request has changed something: %d %s", got.status, got.body)
	}
}

func FuzzBody(f *testing.F) {
	for _, c := range badBodies() {
		if len(c.body) < 1<<12 {
			f.Add(c.body)
		}
	}
	f.Add(credentials("alice", goodPassword))
	s := start(f)
	allowed := map[int]bool{201: true, 400: true, 409: true, 413: true, 422: true}
	f.Fuzz(func(t *testing.T, body string) {
		got := s.post(t, "/users", body)
		if !allowed[got.status] {
			t.Errorf("POST /users %q: %d %s", body, got.status, got.body)
		}
		if got.status >= 400 {
			got.problem(t)
		}
		if got := s.post(t, "/login", body); !allowed[got.status] && got.status != 200 && got.status != 401 {
			t.Errorf("POST /login %q: %d %s", body, got.status, got.body)
		}
	})
}
