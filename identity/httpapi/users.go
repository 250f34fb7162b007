package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earlybird/earlybird/identity/account"
)

// noStore keeps answers about a person out of every cache (RFC 9111 section
// 5.2.2.5).
const noStore = "no-store"

// registration is the body of POST /users. The lengths here only bound what is
// looked at: up to four code points may compose to one, and the account
// package counts composed ones.
type registration struct {
	Username string `json:"username" minLength:"1" maxLength:"256" doc:"3 to 64 letters, digits and punctuation, no spaces" example:"alice"`
	Password string `json:"password" minLength:"1" maxLength:"512" format:"password" doc:"8 to 128 characters, spaces included" example:"correct horse battery staple"`
}

type registerInput struct {
	Body registration
}

type userBody struct {
	Username string `json:"username" doc:"As typed at registration." example:"alice"`
	ID       string `json:"id" doc:"Opaque, never changes and is never given to anybody else." example:"4VHUZ2TTRRNHZZWQCMWOKUQBCD"`
}

type registerOutput struct {
	Location     string `header:"Location" doc:"The path of the new user."`
	CacheControl string `header:"Cache-Control" doc:"no-store"`
	ContentType  string `header:"Content-Type" hidden:"true"`
	Body         userBody
}

type userInput struct {
	ID          string `path:"id" doc:"The user's id, as POST /users returned it, or me: the token's own user." example:"4VHUZ2TTRRNHZZWQCMWOKUQBCD"`
	IfNoneMatch string `header:"If-None-Match" doc:"ETags of the content that is there already."`

	tags []string // every line of If-None-Match; huma reads the first
}

// Resolve implements huma.Resolver.
func (in *userInput) Resolve(ctx huma.Context) []error {
	ctx.EachHeader(func(name, value string) {
		if name == "If-None-Match" {
			in.tags = append(in.tags, value)
		}
	})
	return nil
}

type userOutput struct {
	Status       int
	ETag         string `header:"ETag" doc:"Names this content (RFC 9110 section 8.8.3)."`
	CacheControl string `header:"Cache-Control" doc:"private, no-cache"`
	Vary         string `header:"Vary" doc:"Authorization"`
	ContentType  string `header:"Content-Type" hidden:"true"`
	Body         userBody
}

func (a *API) addUsers() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "register", Method: http.MethodPost, Path: "/users",
		Summary:     "Create an account",
		Description: "Every person has one account. Names that differ in case or width alone are one name.",
		Tags:        []string{"accounts"}, DefaultStatus: http.StatusCreated,
		Responses:        a.answers(bodyStatuses, http.StatusConflict, http.StatusServiceUnavailable),
		SkipValidateBody: true, MaxBodyBytes: MaxBody + 1, BodyReadTimeout: -1,
		Middlewares: huma.Middlewares{a.opened, a.admitBody},
	}, a.register)
	huma.Register(a.huma, huma.Operation{
		OperationID: "user", Method: http.MethodGet, Path: "/users/{id}",
		Summary: "Read your own account",
		Description: "The id is the one that POST /users returned, or me: the user whose token it is. " +
			"The id of anybody else is answered like one that does not exist.",
		Tags: []string{"accounts"}, Security: bearerSecurity,
		Responses:   a.userAnswers(),
		Middlewares: huma.Middlewares{a.opened, a.authenticate},
	}, a.user)
}

func (a *API) register(ctx context.Context, in *registerInput) (*registerOutput, error) {
	u, err := a.backend.Load().Accounts.Register(ctx, account.Registration{
		Username: in.Body.Username, Password: in.Body.Password, IP: clientAddress(ctx),
	})
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &registerOutput{
		Location:     "/users/" + url.PathEscape(u.ID),
		CacheControl: noStore, ContentType: jsonMediaType, Body: userBody{Username: u.Username, ID: u.ID},
	}, nil
}

// ownCaching lets the user's own client keep the account and use it after
// asking: the answer to that also says whether the token is still good.
const ownCaching = "private, no-cache"

// user decides by the token alone whose account may be read, before any look
// into the store: neither answer nor time tells whether another id exists.
func (a *API) user(ctx context.Context, in *userInput) (*userOutput, error) {
	id, err := ownID(ctx, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	u, err := a.backend.Load().Accounts.User(ctx, id)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	out := &userOutput{
		Status: http.StatusOK, ETag: entityTag(u), CacheControl: ownCaching, Vary: "Authorization",
		ContentType: jsonMediaType, Body: userBody{Username: u.Username, ID: u.ID},
	}
	if matches(in.tags, out.ETag) {
		out.Status, out.ContentType = http.StatusNotModified, ""
	}
	return out, nil
}

// me stands in a path for the id of the token's own user. No id is this short.
const me = "me"

// ownID is the id of the user that a path names, who must be the token's own:
// account.ErrNotFound otherwise.
func ownID(ctx context.Context, named string) (string, error) {
	own := caller(ctx).Subject
	if named != me && named != own {
		return "", account.ErrNotFound
	}
	return own, nil
}

func (a *API) userAnswers() map[string]*huma.Response {
	responses := a.answers(tokenStatuses, http.StatusNotFound, http.StatusServiceUnavailable)
	text := &huma.Schema{Type: "string"}
	responses["304"] = &huma.Response{
		Description: "What If-None-Match names is still right",
		Headers: map[string]*huma.Param{
			"ETag": {Schema: text}, "Cache-Control": {Schema: text}, "Vary": {Schema: text},
		},
	}
	return responses
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
