package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
)

// credentials is the body of POST /login. A name or password that no account
// can have is wrong (401), not invalid: the two answers would tell apart what
// one may not know.
type credentials struct {
	Username string `json:"username" minLength:"1" maxLength:"256" doc:"the name given at registration, 1 to 256 characters" example:"alice"`
	Password string `json:"password" minLength:"1" maxLength:"512" format:"password" doc:"the password, 1 to 512 characters" example:"correct horse battery staple"`
}

type loginInput struct {
	Body credentials
}

type tokenBody struct {
	Token string `json:"token" doc:"An access token (RFC 9068), valid for 30 minutes." example:"eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.e30.c2ln"`
}

type loginOutput struct {
	CacheControl string `header:"Cache-Control" doc:"no-store"`
	ContentType  string `header:"Content-Type" hidden:"true"`
	Earlybird    string `header:"Earlybird" doc:"replaced by earlybirdText"`
	Body         tokenBody
}

// earlybirdText describes the header, as the gateway sends it and as this service
// does.
const earlybirdText = `How the login stands in the promotion: a dictionary of structured fields (RFC 9651). Ignore members that you do not know.

| member | type | when it is there | what it says |
|---|---|---|---|
| ` + "`status`" + ` | token | always | see below |
| ` + "`campaign`" + ` | string | status=granted | the campaign's id |
| ` + "`rank`" + ` | integer | status=granted | 1 for the first who logged in |
| ` + "`discount`" + ` | integer | status=granted | percent |
| ` + "`place`" + ` | string | status=pending, without the gateway | what the gateway looks up; of no use to a client |

| status | meaning |
|---|---|
| ` + "`granted`" + ` | you hold the discount; said by the gateway alone |
| ` + "`full`" + ` | all discounts are taken; GET /promotion has your position |
| ` + "`none`" + ` | there is no campaign that has begun |
| ` + "`paused`" + ` | the campaign is paused; this login did not count |
| ` + "`ended`" + ` | the campaign is over, and you hold no grant of it |
| ` + "`pending`" + ` | the login counted; GET /promotion tells how |
| ` + "`retry`" + ` | the login may not have counted: log in again, a few times, after 1, 2, 4 ... seconds, each with a random part. The token is good all the same |`

// describeEarlybird puts the header's members into the description, which huma's
// tags have no room for.
func (a *API) describeEarlybird() {
	header := a.huma.OpenAPI().Paths["/login"].Post.Responses["200"].Headers["Earlybird"]
	header.Description = earlybirdText
	header.Required = true
	header.Schema = &huma.Schema{Type: "string", Pattern: `^status=(granted|full|none|paused|ended|pending|retry)(, [a-z]+=("[^"]*"|[0-9]+))*$`}
	header.Examples = map[string]*huma.Example{
		"granted": {Summary: "Through the gateway", Value: `status=granted, campaign="1", rank=42, discount=30`},
		"pending": {Summary: "Without the gateway", Value: `status=pending, place="1048576:17"`},
		"retry":   {Summary: "Log in again", Value: `status=retry`},
	}
}

func (a *API) addLogin() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "login", Method: http.MethodPost, Path: "/login",
		Summary: "Log in",
		Description: "The header Earlybird of the answer says how the login stands in the promotion. Asked directly, without the " +
			"gateway, every login that counted is status=pending. On status=retry the login may not have counted: log in again. " +
			"The token of a one-time password opens PUT /users/{id}/password alone and counts for no promotion.",
		Tags:             []string{"accounts"},
		Responses:        a.answers(bodyStatuses, http.StatusUnauthorized, http.StatusServiceUnavailable),
		SkipValidateBody: true, MaxBodyBytes: MaxBody + 1, BodyReadTimeout: -1,
		Middlewares: huma.Middlewares{a.opened, a.admitBody},
	}, a.login)
	a.describeEarlybird()
}

func (a *API) login(ctx context.Context, in *loginInput) (*loginOutput, error) {
	credential, err := a.backend.Load().Accounts.Authenticate(ctx, account.LoginRequest{
		Username: in.Body.Username, Password: in.Body.Password,
		IP: clientAddress(ctx), RequestID: RequestID(ctx),
	})
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	issuer := a.backend.Load().Issuer
	if credential.OneTime() {
		issuer = a.backend.Load().PasswordIssuer
	}
	raw, _, err := issuer.Issue(credential.UserID, credential.Generation)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	placement := campaign.Placement{Status: campaign.StatusNone}
	if !credential.OneTime() { // else it is no login yet
		placement = a.backend.Load().Promotions.Place(ctx, credential.UserID)
	}
	return &loginOutput{
		CacheControl: noStore, ContentType: jsonMediaType, Earlybird: placementHeader(placement), Body: tokenBody{Token: raw},
	}, nil
}

// placementHeader is a placement as a structured-field dictionary (RFC 9651).
func placementHeader(p campaign.Placement) string {
	header := "status=" + string(p.Status)
	if p.Status == campaign.StatusPending {
		header += `, place="` + p.Place.String() + `"`
	}
	return header
}
