package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/token"
)

// noStore keeps answers about a person out of every cache (RFC 9111 section
// 5.2.2.5).
const noStore = "no-store"

// registration is the body of POST /users. The lengths here only bound what is
// looked at: up to four code points may compose to one, and the account
// package counts composed ones.
var registration = body{
	{"username", 256, "3 to 64 letters, digits and punctuation, no spaces"},
	{"password", 512, "8 to 128 characters, spaces included"},
}

// enrolment is the body of POST /users where registrations take a code.
var enrolment = append(registration[:len(registration):len(registration)],
	member{"code", 68, "the enrolment code that you were sent, in any case, with or without dashes"})

// userBody is a user as their own client sees them.
type userBody struct {
	Username string `json:"username"`
	ID       string `json:"id"`
}

func (a *API) register(w http.ResponseWriter, r *http.Request, b *Backend) error {
	members := registration
	if a.Codes {
		members = enrolment
	}
	in, err := members.read(r)
	if err != nil {
		return err
	}
	u, err := b.Accounts.Register(r.Context(), account.Registration{
		Username: in["username"], Password: in["password"], Code: in["code"], IP: clientAddress(r.Context()),
	})
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/users/"+url.PathEscape(u.ID))
	answer(w, http.StatusCreated, userBody{Username: u.Username, ID: u.ID})
	return nil
}

// ownCaching lets the user's own client keep the account and use it after
// asking: the answer to that also says whether the token is still good.
const ownCaching = "private, no-cache"

// user decides by the token alone whose account may be read, before any look
// into the store: neither answer nor time tells whether another id exists.
func (a *API) user(w http.ResponseWriter, r *http.Request, b *Backend) error {
	claims, err := b.authenticate(r)
	if err != nil {
		return err
	}
	id, err := ownID(r, claims)
	if err != nil {
		return err
	}
	u, err := b.Accounts.User(r.Context(), id)
	if err != nil {
		return err
	}
	tag := entityTag(u)
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", ownCaching)
	w.Header().Set("Vary", "Authorization")
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	answer(w, http.StatusOK, userBody{Username: u.Username, ID: u.ID})
	return nil
}

// me stands in a path for the id of the token's own user. No id is this short.
const me = "me"

// ownID is the id of the user that a path names, who must be the token's own:
// account.ErrNotFound otherwise.
func ownID(r *http.Request, c token.Claims) (string, error) {
	if named := r.PathValue("id"); named != me && named != c.Subject {
		return "", account.ErrNotFound
	}
	return c.Subject, nil
}

// entityTag changes with whatever the answer shows of a user.
func entityTag(u account.User) string {
	sum := sha256.Sum256([]byte(u.ID + "\x00" + u.Username))
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// matches compares as If-None-Match asks for (RFC 9110 section 13.1.2): weakly,
// with a list that may stand in several lines. A tag of ours has no comma in
// it, so the list may be cut at each.
func matches(lines []string, tag string) bool {
	for _, line := range lines {
		for one := range strings.SplitSeq(line, ",") {
			one = strings.TrimSpace(one)
			if one == "*" || strings.TrimPrefix(one, "W/") == tag {
				return true
			}
		}
	}
	return false
}
