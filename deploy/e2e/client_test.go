package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
)

// gateway is the system under test, as a client sees it.
type gateway struct {
	url    string
	client *http.Client
}

func newGateway(url string) *gateway {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	return &gateway{
		url:    strings.TrimRight(url, "/"),
		client: &http.Client{Timeout: 30 * time.Second, Transport: transport},
	}
}

// answer is a response with its body read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// member returns a top-level member of a JSON body, or nil.
func (a answer) member(name string) any {
	var m map[string]any
	if json.Unmarshal(a.body, &m) != nil {
		return nil
	}
	return m[name]
}

// text returns a top-level string member of a JSON body, or "".
func (a answer) text(name string) string {
	s, _ := a.member(name).(string)
	return s
}

func (a answer) String() string {
	return fmt.Sprintf("%d %s %v", a.status, bytes.TrimSpace(a.body), a.header)
}

// do sends one request; a 429 or 503 that says when to come back is obeyed,
// for up to two minutes in all.
func (g *gateway) do(method, path string, header http.Header, body []byte) (answer, error) {
	deadline := time.Now().Add(2 * time.Minute)
	for {
		a, err := g.once(method, path, header, body)
		if err != nil {
			return answer{}, err
		}
		wait, again := retryAfter(a)
		if !again || time.Now().Add(wait).After(deadline) {
			return a, nil
		}
		<-time.After(wait)
	}
}

func (g *gateway) once(method, path string, header http.Header, body []byte) (answer, error) {
	req, err := http.NewRequest(method, g.url+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if header != nil {
		req.Header = header.Clone()
	}
	if body != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, body: read}, err
}

// retryAfter reads RFC 9110's Retry-After in its seconds form.
func retryAfter(a answer) (time.Duration, bool) {
	if a.status != http.StatusTooManyRequests && a.status != http.StatusServiceUnavailable {
		return 0, false
	}
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0, false
	}
	return time.Duration(max(seconds, 1)) * time.Second, true
}

// mustDo is do for a test that cannot go on without an answer.
func (g *gateway) mustDo(t *testing.T, method, path string, header http.Header, body string) answer {
	t.Helper()
	var payload []byte
	if body != "" {
		payload = []byte(body)
	}
	a, err := g.do(method, path, header, payload)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func bearer(token string) http.Header {
	return http.Header{"Authorization": {"Bearer " + token}}
}

// person is somebody with an account.
type person struct {
	name, password string
	id, token      string
	tag            tag
}

func (p *person) credentials() []byte {
	b, _ := json.Marshal(map[string]string{"username": p.name, "password": p.password}) // two strings always marshal
	return b
}

// register creates the person's account.
func (g *gateway) register(p *person) error {
	a, err := g.do(http.MethodPost, "/users", nil, p.credentials())
	if err != nil {
		return err
	}
	if a.status != http.StatusCreated {
		return fmt.Errorf("POST /users for %s: %v", p.name, a)
	}
	p.id = a.text("id")
	return nil
}

// login logs the person in and reads the tag.
func (g *gateway) login(p *person) error {
	a, err := g.do(http.MethodPost, "/login", nil, p.credentials())
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("POST /login for %s: %v", p.name, a)
	}
	p.token = a.text("token")
	p.tag, err = parseTag(a.header.Values("Earlybird"))
	return err
}

// tag is what the Earlybird response header of a login says.
type tag struct {
	status   string
	campaign string
	rank     int64
	discount int64
}

// parseTag reads the header as RFC 9651 says, and insists on its contract:
// exactly one status, and the rest if and only if it is granted.
func parseTag(values []string) (tag, error) {
	dict, err := httpsfv.UnmarshalDictionary(values)
	if err != nil {
		return tag{}, fmt.Errorf("header Earlybird %q: %w", values, err)
	}
	status, ok := item(dict, "status").(httpsfv.Token)
	if !ok {
		return tag{}, fmt.Errorf("header Earlybird %q has no status", values)
	}
	t := tag{status: string(status)}
	t.campaign, _ = item(dict, "campaign").(string)
	t.rank, _ = item(dict, "rank").(int64)
	t.discount, _ = item(dict, "discount").(int64)
	whole := t.campaign != "" && t.rank > 0 && len(dict.Names()) == 4
	if (t.status == "granted") != whole {
		return tag{}, fmt.Errorf("header Earlybird %q: granted, and only granted, has campaign, rank and discount", values)
	}
	return t, nil
}

func item(dict *httpsfv.Dictionary, name string) any {
	m, ok := dict.Get(name)
	if !ok {
		return nil
	}
	i, ok := m.(httpsfv.Item)
	if !ok {
		return nil
	}
	return i.Value
}
