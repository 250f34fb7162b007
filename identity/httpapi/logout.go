package httpapi

import (
	"net/http"

	"github.com/earlybird/earlybird/identity/account"
)

// done answers without a body.
func done(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", noStore)
	w.WriteHeader(http.StatusNoContent)
}

func (a *API) logout(w http.ResponseWriter, r *http.Request, b *Backend) error {
	claims, err := b.authenticateAgain(r)
	if err != nil {
		return err
	}
	if err := b.Revocations.RevokeToken(r.Context(), claims.ID, claims.Expires); err != nil {
		return err
	}
	done(w)
	return nil
}

// passwordChange is the body of PUT /users/{id}/password.
var passwordChange = body{
	{"current", 512, "the present password, 1 to 512 characters"},
	{"new", 512, "8 to 128 characters, spaces included, not the present password"},
}

// changePassword decides by the token alone whose password may be changed, as
// user does.
func (a *API) changePassword(w http.ResponseWriter, r *http.Request, b *Backend) error {
	claims, err := b.authenticatePassword(r)
	if err != nil {
		return err
	}
	in, err := passwordChange.read(r)
	if err != nil {
		return err
	}
	id, err := ownID(r, claims)
	if err != nil {
		return err
	}
	err = b.Accounts.ChangePassword(r.Context(), account.ChangeRequest{
		UserID: id, Current: in["current"], New: in["new"],
		IP: clientAddress(r.Context()), RequestID: RequestID(r.Context()),
	})
	if err != nil {
		return err
	}
	done(w)
	return nil
}
