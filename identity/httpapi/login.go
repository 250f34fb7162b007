package httpapi

import (
	"net/http"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
)

// credentials is the body of POST /login. A name or password that no account
// can have is wrong (401), not invalid: the two answers would tell apart what
// one may not know.
var credentials = body{
	{"username", 256, "the name given at registration, 1 to 256 characters"},
	{"password", 512, "the password, 1 to 512 characters"},
}

func (a *API) login(w http.ResponseWriter, r *http.Request, b *Backend) error {
	in, err := credentials.read(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	credential, err := b.Accounts.Authenticate(ctx, account.LoginRequest{
		Username: in["username"], Password: in["password"], IP: clientAddress(ctx), RequestID: RequestID(ctx),
	})
	if err != nil {
		return err
	}
	issuer := b.Issuer
	if credential.OneTime() {
		issuer = b.PasswordIssuer
	}
	raw, _, err := issuer.Issue(credential.UserID, credential.Generation)
	if err != nil {
		return err
	}
	placement := campaign.Placement{Status: campaign.StatusNone}
	if !credential.OneTime() { // else it is no login yet
		placement = b.Promotions.Place(ctx, credential.UserID)
	}
	w.Header().Set("Earlybird", placementHeader(placement))
	answer(w, http.StatusOK, map[string]string{"token": raw})
	return nil
}

// placementHeader is a placement as a structured-field dictionary (RFC 9651).
func placementHeader(p campaign.Placement) string {
	header := "status=" + string(p.Status)
	if p.Status == campaign.StatusPending {
		header += `, place="` + p.Place.String() + `"`
	}
	return header
}
