package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/limit"
	"github.com/earlybird/earlybird/identity/password"
	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// Problem types beside about:blank, which says no more than the status does
// (RFC 9457 section 4.2.1). They are tag URIs (RFC 4151): names, not places.
const (
	typeInvalid      = "tag:earlybird.example,2026:invalid-field"
	typeTaken        = "tag:earlybird.example,2026:username-taken"
	typeCredentials  = "tag:earlybird.example,2026:wrong-credentials" //nolint:gosec // the name of a problem, not a credential
	typeUnauthorized = token.TypeUnauthorized
	typeNoGrant      = "tag:earlybird.example,2026:no-grant"
	typeLimited      = "tag:earlybird.example,2026:too-many-attempts"
	typeBusy         = "tag:earlybird.example,2026:busy"
	typePending      = "tag:earlybird.example,2026:pending"
	typeUnavailable  = token.TypeUnavailable
)

const (
	problemMediaType = "application/problem+json"

	// outageRetry is what Retry-After says when a dependency is down: long
	// enough to spare it, short enough for a person to wait.
	outageRetry = 2 * time.Second
)

// Problem is a problem document (RFC 9457) and the headers that go with it.
type Problem struct {
	Type   string       `json:"type"` // about:blank when the status says it all
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail"` // never what was sent
	Errors []FieldError `json:"errors,omitempty"`

	Standing string `json:"standing,omitempty"` // why there is no grant
	Position int64  `json:"position,omitempty"` // of who waits, in the order of first logins

	header http.Header
}

// FieldError says what is wrong with one member of the body.
type FieldError struct {
	Field   string `json:"field"` // or body, for the body as a whole
	Message string `json:"message"`
}

// Error returns the detail: an operation can fail with a Problem.
func (p *Problem) Error() string { return p.Detail }

// write answers with p.
func (p *Problem) write(w http.ResponseWriter) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problemMediaType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone
}

// problem returns a problem of the type about:blank.
func problem(status int, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

func typedProblem(kind, title string, status int, detail string) *Problem {
	return &Problem{Type: kind, Title: title, Status: status, Detail: detail}
}

func (p *Problem) with(name, value string) *Problem {
	if p.header == nil {
		p.header = http.Header{}
	}
	p.header.Set(name, value)
	return p
}

// invalidFields refuses members of the body: 422.
func invalidFields(errs ...FieldError) *Problem {
	detail := fmt.Sprintf("%s: %s", errs[0].Field, errs[0].Message)
	if len(errs) > 1 {
		detail = fmt.Sprintf("%s (and %d more)", detail, len(errs)-1)
	}
	p := typedProblem(typeInvalid, "A field is not allowed as it is", http.StatusUnprocessableEntity, detail)
	p.Errors = errs
	return p
}

// unavailable says that nothing was decided and when to ask again.
func serviceUnavailable(kind, title, detail string, after time.Duration) *Problem {
	return typedProblem(kind, title, http.StatusServiceUnavailable, detail).
		with("Retry-After", retrySeconds(after))
}

// retrySeconds is a time to wait as Retry-After says it: whole seconds.
func retrySeconds(after time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(after.Seconds()))))
}

// problemOf maps an error of the domain to its answer. An error it does not
// know becomes a 500 that says nothing.
func problemOf(err error) *Problem {
	if fields := refusedFields(err); len(fields) > 0 {
		return invalidFields(fields...)
	}
	var (
		done *Problem
		busy *password.BusyError
		late *revocation.PendingError
		none *campaign.NoGrantError

		limited *limit.LimitedError
	)
	switch {
	case errors.As(err, &done):
		return done
	case errors.Is(err, account.ErrUsernameTaken):
		return typedProblem(typeTaken, "The username is taken", http.StatusConflict,
			"username: another account has this name; choose another one")
	case errors.Is(err, account.ErrBadCredentials):
		return typedProblem(typeCredentials, "The username or the password is wrong", http.StatusUnauthorized,
			"The username or the password is wrong.").with("WWW-Authenticate", token.Challenge)
	case errors.Is(err, account.ErrNotFound):
		return notFound()
	case errors.As(err, &none):
		p := typedProblem(typeNoGrant, "No promotion", http.StatusNotFound, noGrantDetails[none.Standing])
		p.Standing, p.Position = none.Standing, none.Position
		return p
	case errors.As(err, &limited):
		return typedProblem(typeLimited, "Too many attempts", http.StatusTooManyRequests,
			"There were too many attempts; try again after the time that Retry-After says.").
			with("Retry-After", retrySeconds(limited.RetryAfter))
	case errors.As(err, &busy):
		return serviceUnavailable(typeBusy, "Too many logins at once", "The service is busy; try again.", busy.RetryAfter)
	case errors.As(err, &late):
		return serviceUnavailable(typePending, "Done, not in force everywhere yet",
			"It is done and stored; earlier tokens may be accepted until the gateways can be told, which happens by itself.", outageRetry)
	case unavailable.Is(err):
		return serviceUnavailable(typeUnavailable, "Not available", "Something this needs does not answer; try again.", outageRetry)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return serviceUnavailable(typeUnavailable, "Not available", "The request took too long; try again.", outageRetry)
	}
	if r := token.RefusalOf(err); r != nil {
		return tokenProblem(r)
	}
	return problem(http.StatusInternalServerError, "Something went wrong here; it was logged under the request id.")
}

// noGrantDetails say why a user holds no grant, by standing.
var noGrantDetails = map[string]string{
	string(campaign.StatusNone):   "There is no campaign that has begun.",
	string(campaign.StatusFull):   "All discounts of this campaign are taken; users with a position get one, in their order, when there are more.",
	string(campaign.StatusPaused): "The campaign is paused; logins do not count just now.",
	string(campaign.StatusEnded):  "The campaign has ended, and you hold no grant of it.",
	campaign.StandingOpen:         "You hold no place in this campaign; log in again to take one.",
	campaign.StandingDisqualified: "Your place in this campaign was withdrawn.",
}

// refusedFields collects every *account.InvalidError in err, of which there are
// two when a name and a password were both refused.
func refusedFields(err error) []FieldError {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		var all []FieldError
		for _, one := range several.Unwrap() {
			all = append(all, refusedFields(one)...)
		}
		return all
	}
	if invalid, ok := err.(*account.InvalidError); ok { //nolint:errorlint // the walk looks at each layer itself
		return []FieldError{{Field: invalid.Field, Message: invalid.Reason}}
	}
	if inner := errors.Unwrap(err); inner != nil {
		return refusedFields(inner)
	}
	return nil
}

// tokenProblem renders the refusal of a token.
func tokenProblem(r *token.Refusal) *Problem {
	p := typedProblem(r.Type, r.Title, r.Status, r.Detail)
	if r.WWWAuthenticate != "" {
		p = p.with("WWW-Authenticate", r.WWWAuthenticate)
	}
	if r.RetryAfter > 0 {
		p = p.with("Retry-After", retrySeconds(r.RetryAfter))
	}
	return p
}

func notFound() *Problem {
	return problem(http.StatusNotFound, "There is nothing here.")
}
