package httpapi

import (
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/limit"
	"github.com/earlybird/earlybird/identity/password"
	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/token"
)

const (
	bearerScheme = "bearer"
	apiTitle     = "Earlybird identity"
	apiText      = `Accounts, logins and the early-bird promotion.

Create an account (POST /users), log in (POST /login), and send the token as
Authorization: Bearer with everything else. Errors are problem documents (RFC 9457);
their detail and errors members say what is wrong and what is allowed. A gateway
before this service may answer in its own way: Kong's 404, 413, 429 and 503 are
application/json with a message, and its 503 has no Retry-After.
Every answer has an X-Request-Id, which is also in the logs.`
)

var bearerSecurity = []map[string][]string{{bearerScheme: {}}}

// The statuses that the check of a body, or of a token, answers with.
var (
	bodyStatuses = []int{
		http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusTooManyRequests,
	}
	tokenStatuses = []int{http.StatusBadRequest, http.StatusUnauthorized}
)

// describe returns huma's configuration: JSON alone, no $schema members, no
// links to schemas, and no pages of its own.
func describe(version string) huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: apiTitle, Version: version, Description: apiText,
				License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{bearerScheme: {
					Type: "http", Scheme: "bearer", BearerFormat: "JWT",
					Description: "The token that POST /login returned.",
				}},
			},
		},
		Formats: map[string]huma.Format{
			jsonMediaType: huma.DefaultJSONFormat,
			"json":        huma.DefaultJSONFormat,
		},
		Transformers: []huma.Transformer{opaque},
	}
}

// opaque replaces huma's own error documents, which may repeat what was sent.
func opaque(_ huma.Context, _ string, v any) (any, error) {
	if own, ok := v.(*huma.ErrorModel); ok {
		return problem(own.Status, http.StatusText(own.Status)), nil
	}
	return v, nil
}

// answers describes the problems that an operation can answer with; each can
// also answer that the head of the request is too large, and with a 500.
func (a *API) answers(statuses []int, more ...int) map[string]*huma.Response {
	always := []int{http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge, http.StatusInternalServerError}
	described := map[string]*huma.Response{}
	for _, group := range [][]int{statuses, more, always} {
		for _, status := range group {
			described[strconv.Itoa(status)] = a.problemAnswer(status)
		}
	}
	return described
}

func (a *API) problemAnswer(status int) *huma.Response {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	schemas := a.huma.OpenAPI().Components.Schemas.Map()
	schemas["Problem"].Properties["type"].Enum = problemTypes()
	described := &huma.Response{
		Description: answerTexts[status],
		Headers:     answerHeaders(status),
		Content:     map[string]*huma.MediaType{problemMediaType: {Schema: schema, Examples: examples(status)}},
	}
	if status == http.StatusTooManyRequests {
		// What the gateway answers in place of the service.
		described.Content[jsonMediaType] = &huma.MediaType{
			Schema: &huma.Schema{Type: "object", Properties: map[string]*huma.Schema{"message": {Type: "string"}}},
		}
	}
	return described
}

// answerTexts say when a problem is answered.
var answerTexts = map[int]string{
	http.StatusBadRequest:                  "The body is not JSON, not UTF-8 or has a name twice, or there are two Authorization headers",
	http.StatusUnauthorized:                "No valid token, or a wrong name or password",
	http.StatusNotFound:                    "Not yours, or not there",
	http.StatusRequestTimeout:              "The body took too long to arrive",
	http.StatusConflict:                    "Another account has this name",
	http.StatusRequestEntityTooLarge:       "The body is over 16 KiB",
	http.StatusRequestURITooLong:           "The URI is over 8 KiB",
	http.StatusUnsupportedMediaType:        "The body is not declared as application/json, or has a content coding",
	http.StatusUnprocessableEntity:         "A member is missing, unknown or not allowed as it is; errors names each",
	http.StatusTooManyRequests:             "Too many requests; the gateway's own limit has a body of its own",
	http.StatusRequestHeaderFieldsTooLarge: "The header is over 32 KiB",
	http.StatusInternalServerError:         "Something went wrong here",
	http.StatusServiceUnavailable:          "Busy, or something this needs does not answer: nothing was decided, try again",
}

func answerHeaders(status int) map[string]*huma.Param {
	text := &huma.Schema{Type: "string"}
	switch status {
	case http.StatusUnauthorized:
		return map[string]*huma.Param{"WWW-Authenticate": {Description: "RFC 6750 section 3", Schema: text, Required: true}}
	case http.StatusBadRequest:
		return map[string]*huma.Param{"WWW-Authenticate": {Description: "With two Authorization headers: RFC 6750 section 3", Schema: text}}
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return map[string]*huma.Param{"Retry-After": {Description: "Seconds", Schema: &huma.Schema{Type: "integer"}, Required: true}}
	case http.StatusUnsupportedMediaType:
		return map[string]*huma.Param{
			"Accept":          {Description: "The media type to send: RFC 9110 section 15.5.16", Schema: text},
			"Accept-Encoding": {Description: "In place of Accept, when the body had a content coding: none is supported", Schema: text},
		}
	}
	return nil
}

// kinds are the problems of each status that are more than the status.
var kinds = func() map[int][]*Problem {
	kinds := map[int][]*Problem{}
	for _, err := range []error{
		account.ErrBadCredentials, token.ErrExpired, account.ErrUsernameTaken,
		&account.InvalidError{Field: "username", Reason: "must have 3 to 64 characters"},
		&limit.LimitedError{}, &password.BusyError{}, &revocation.PendingError{}, token.ErrNoKeys,
	} {
		p := problemOf(err)
		kinds[p.Status] = append(kinds[p.Status], p)
	}
	for _, standing := range slices.Sorted(maps.Keys(noGrantDetails)) {
		p := problemOf(&campaign.NoGrantError{Standing: standing})
		if standing == string(campaign.StatusFull) {
			p.Position = 117
		}
		kinds[p.Status] = append(kinds[p.Status], p)
	}
	return kinds
}()

// problemTypes lists every type that a problem can have.
func problemTypes() []any {
	names := []string{"about:blank"}
	for _, of := range kinds {
		for _, p := range of {
			names = append(names, p.Type)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	all := make([]any, len(names))
	for i, name := range names {
		all[i] = name
	}
	return all
}

// examples returns what the problems of a status look like, by the last part
// of their types, and by their standing if they have one.
func examples(status int) map[string]*huma.Example {
	shown := map[string]*huma.Example{}
	for _, p := range kinds[status] {
		name := p.Type[strings.LastIndex(p.Type, ":")+1:]
		if p.Standing != "" {
			name += "-" + p.Standing
		}
		shown[name] = &huma.Example{Summary: p.Title, Value: p}
	}
	if len(shown) == 0 || status == http.StatusNotFound {
		shown["blank"] = &huma.Example{Summary: http.StatusText(status), Value: problem(status, answerTexts[status]+".")}
	}
	return shown
}
