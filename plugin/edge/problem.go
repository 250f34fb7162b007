package edge

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/earlybird/earlybird/identity/token"
)

// Problem is an error response as application/problem+json (RFC 9457), in the
// words of the identity service. It never holds anything the client sent.
type Problem struct {
	Status int
	Reason string // for metrics: a fixed word
	Header map[string][]string
	Body   []byte
}

// The problems that are not about one token.
var (
	// Unavailable answers while tokens cannot be checked: 503 with Retry-After.
	Unavailable = Refusal(token.ErrNoKeys)
	// Failed answers when the plugin itself has failed: 500, and nothing passes.
	Failed = newProblem("failed", document{
		Type: "about:blank", Title: http.StatusText(http.StatusInternalServerError),
		Status: http.StatusInternalServerError, Detail: "Something went wrong here.",
	}, nil)
)

// document is the body of a problem.
type document struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// rendered holds the problem of each refusal: the answers are few, and the same
// each time.
var rendered = func() map[*token.Refusal]*Problem {
	all := map[*token.Refusal]*Problem{}
	for _, r := range token.Refusals() {
		header := map[string][]string{}
		if r.WWWAuthenticate != "" {
			header["WWW-Authenticate"] = []string{r.WWWAuthenticate}
		}
		if r.RetryAfter > 0 {
			header["Retry-After"] = []string{strconv.Itoa(int(r.RetryAfter.Seconds()))}
		}
		all[r] = newProblem(r.Reason, document{Type: r.Type, Title: r.Title, Status: r.Status, Detail: r.Detail}, header)
	}
	return all
}()

// Refusal is the problem for an error of package token. An unknown error is
// answered as a malformed token: nothing passes.
func Refusal(err error) *Problem {
	r := token.RefusalOf(err)
	if r == nil {
		r = token.RefusalOf(token.ErrMalformed)
	}
	return rendered[r]
}

// Problems returns all there are.
func Problems() []*Problem {
	all := []*Problem{Failed}
	for _, r := range token.Refusals() {
		all = append(all, rendered[r])
	}
	return all
}

func newProblem(reason string, d document, header map[string][]string) *Problem {
	body, err := json.Marshal(d)
	if err != nil {
		panic(err) // four plain fields
	}
	all := map[string][]string{"Content-Type": {"application/problem+json"}}
	for name, values := range header {
		all[name] = values
	}
	return &Problem{Status: d.Status, Reason: reason, Header: all, Body: body}
}
