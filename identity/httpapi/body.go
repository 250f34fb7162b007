package httpapi

import (
	"bytes"
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

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// MaxBody is the largest request body, in bytes, that is accepted.
const MaxBody = 16 << 10

const jsonMediaType = "application/json"

// admitBody lets a request through whose body is one JSON object that the
// operation's schema allows, and answers all others itself. huma's own
// validation is not used: it accepts names in another case, and puts rejected
// values into its errors.
func (a *API) admitBody(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	body, refusal := readBody(r)
	if refusal == nil {
		refusal = checkBody(body, a.bodySchema(ctx.Operation()))
	}
	if refusal != nil {
		refusal.write(w)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.Header.Set("Content-Type", jsonMediaType) // huma minds its case
	next(ctx)
}

func (a *API) bodySchema(op *huma.Operation) *huma.Schema {
	schema := op.RequestBody.Content[jsonMediaType].Schema
	if schema.Ref != "" {
		return a.huma.OpenAPI().Components.Schemas.SchemaFromRef(schema.Ref)
	}
	return schema
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

// checkBody holds a body against an object schema with string members.
func checkBody(body []byte, schema *huma.Schema) *Problem {
	if err := checkJSON(body); err != nil {
		return problem(http.StatusBadRequest, sentence(err))
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return invalidFields(FieldError{Field: "body", Message: "must be a JSON object with " + allowed(schema)})
	}
	if errs := append(checkMembers(members, schema), unknownMembers(members, schema)...); len(errs) > 0 {
		return invalidFields(errs...)
	}
	return nil
}

func checkMembers(members map[string]json.RawMessage, schema *huma.Schema) []FieldError {
	var errs []FieldError
	for _, name := range schema.Required {
		raw, given := members[name]
		if message := checkString(raw, given, schema.Properties[name]); message != "" {
			errs = append(errs, FieldError{Field: name, Message: message})
		}
	}
	return errs
}

// checkString returns what is wrong with a member that must be a string, or
// nothing. Lengths are in code points.
func checkString(raw json.RawMessage, given bool, schema *huma.Schema) string {
	if !given {
		return "is required: " + schema.Description
	}
	var text string
	if raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return "must be a string: " + schema.Description
	}
	if n := utf8.RuneCountInString(text); n < *schema.MinLength || n > *schema.MaxLength {
		return "must be a string: " + schema.Description
	}
	return ""
}

// plainName is what a member's name must look like to be repeated in an
// answer. Anything else may be a value that slipped into the wrong place.
var plainName = regexp.MustCompile(`^[A-Za-z][A-Za-z_]{0,31}$`)

func unknownMembers(members map[string]json.RawMessage, schema *huma.Schema) []FieldError {
	var errs []FieldError
	nameless := false
	for _, name := range slices.Sorted(maps.Keys(members)) {
		switch {
		case schema.Properties[name] != nil:
		case plainName.MatchString(name) && len(errs) < 8:
			errs = append(errs, FieldError{Field: name, Message: "is unknown; allowed: " + allowed(schema)})
		default:
			nameless = true
		}
	}
	if nameless {
		errs = append(errs, FieldError{Field: "body", Message: "has an unknown member; allowed: " + allowed(schema)})
	}
	return errs
}

func allowed(schema *huma.Schema) string { return strings.Join(schema.Required, " and ") }

// sentence turns an error of ours into a sentence for the person.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
