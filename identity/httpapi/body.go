package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxBody is the largest request body, in bytes, that is accepted.
const MaxBody = 16 << 10

const jsonMediaType = "application/json"

// body describes a JSON object whose members are strings, all of them required.
type body []member

// member is a member of a body.
type member struct {
	name    string
	longest int    // in code points; the shortest has one
	allowed string // in words
}

// read returns the members of a request's body, or a *Problem that says what is
// allowed.
func (b body) read(r *http.Request) (map[string]string, error) {
	text, refusal := readBody(r)
	if refusal != nil {
		return nil, refusal
	}
	if err := checkJSON(text); err != nil {
		return nil, problem(http.StatusBadRequest, sentence(err))
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil || members == nil {
		return nil, invalidFields(FieldError{Field: "body", Message: "must be a JSON object with " + b.names()})
	}
	values := map[string]string{}
	var errs []FieldError
	for _, m := range b {
		raw, given := members[m.name]
		value, fault := m.value(raw, given)
		if fault != "" {
			errs = append(errs, FieldError{Field: m.name, Message: fault})
		}
		values[m.name] = value
	}
	if errs = append(errs, b.unknown(members)...); len(errs) > 0 {
		return nil, invalidFields(errs...)
	}
	return values, nil
}

// readBody reads at most MaxBody bytes, whatever Content-Length says.
func readBody(r *http.Request) ([]byte, *Problem) {
	if r.ContentLength > MaxBody {
		return nil, tooLarge()
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	var timeout net.Error
	switch {
	case len(body) > MaxBody:
		return nil, tooLarge()
	case errors.As(err, &timeout) && timeout.Timeout():
		return nil, problem(http.StatusRequestTimeout, "The body took too long to arrive.").with("Connection", "close")
	case err != nil:
		return nil, problem(http.StatusBadRequest, "The body ended early or was not framed as its headers say.").
			with("Connection", "close")
	case len(body) == 0:
		return nil, problem(http.StatusBadRequest, "A body is needed: one JSON object.")
	case r.Header.Get("Content-Encoding") != "": // RFC 9110 section 15.5.16 tells the two reasons for 415 apart by the header
		return nil, problem(http.StatusUnsupportedMediaType, "Send the body without Content-Encoding: no content coding is supported.").
			with("Accept-Encoding", "identity")
	case !isJSON(r.Header):
		return nil, problem(http.StatusUnsupportedMediaType, "Send the body as Content-Type: application/json, in UTF-8.").
			with("Accept", jsonMediaType)
	}
	return body, nil
}

func tooLarge() *Problem {
	return problem(http.StatusRequestEntityTooLarge, fmt.Sprintf("The body may have at most %d bytes.", MaxBody)).
		with("Connection", "close")
}

// isJSON reports whether the headers declare plain application/json, the
// charset, which RFC 8259 does not define, absent or UTF-8.
func isJSON(h http.Header) bool {
	declared := h.Values("Content-Type")
	if len(declared) != 1 {
		return false
	}
	media, params, err := mime.ParseMediaType(declared[0])
	if err != nil || media != jsonMediaType {
		return false
	}
	charset, given := params["charset"]
	return !given || strings.EqualFold(charset, "utf-8")
}

// value returns a member's string, or what is wrong with it.
func (m member) value(raw json.RawMessage, given bool) (value, fault string) {
	if !given {
		return "", "is required: " + m.allowed
	}
	if raw[0] != '"' || json.Unmarshal(raw, &value) != nil {
		return "", "must be a string: " + m.allowed
	}
	if n := utf8.RuneCountInString(value); n < 1 || n > m.longest {
		return "", "must be a string: " + m.allowed
	}
	return value, ""
}

// plainName is what a member's name must look like to be repeated in an
// answer. Anything else may be a value that slipped into the wrong place.
var plainName = regexp.MustCompile(`^[A-Za-z][A-Za-z_]{0,31}$`)

// unknown refuses the members that a body does not have.
func (b body) unknown(members map[string]json.RawMessage) []FieldError {
	var errs []FieldError
	nameless := false
	for _, name := range slices.Sorted(maps.Keys(members)) {
		switch {
		case slices.ContainsFunc(b, func(m member) bool { return m.name == name }):
		case plainName.MatchString(name) && len(errs) < 8:
			errs = append(errs, FieldError{Field: name, Message: "is unknown; allowed: " + b.names()})
		default:
			nameless = true
		}
	}
	if nameless {
		errs = append(errs, FieldError{Field: "body", Message: "has an unknown member; allowed: " + b.names()})
	}
	return errs
}

func (b body) names() string {
	names := make([]string, len(b))
	for i, m := range b {
		names[i] = m.name
	}
	return strings.Join(names, " and ")
}

// sentence turns an error of ours into a sentence for the person.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
