// Package earlybird reads the header by which Kong tells the services behind it
// who sent a request, and which discount that user has. It needs no network, and
// nothing but a parser of structured fields (RFC 9651).
//
//	user, err := earlybird.Parse(r.Header.Values(earlybird.Header))
//	if err != nil {
//		// 401: the request did not come through Kong's earlybird-auth
//	}
//	grant, err := user.Grant()
//	if err != nil {
//		// 503 with Retry-After, or the list price: never guess
//	}
//	price := list - list*grant.Discount/100
//
// The header is only to be trusted where nobody but Kong can reach the service.
package earlybird

import (
	"errors"
	"fmt"

	"github.com/dunglas/httpsfv"
)

// Header is the name of the header, which is a structured-field dictionary
// (RFC 9651 section 3.2).
const Header = "Earlybird"

var (
	// ErrUnauthenticated means that it is not known who sent the request: answer
	// 401. It does not mean that somebody has no discount.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrUnknown means that it cannot be told now whether the user holds a grant:
	// ask again later. It does not mean that they hold none.
	ErrUnknown = errors.New("it cannot be told now whether the user holds a grant")
)

// User is who sent a request. The zero value is nobody, and has no ID.
type User struct {
	ID      string // the same for an account at all times; never empty after Parse
	TokenID string // the access token's jti (RFC 7519 section 4.1.7), such as for an audit

	known bool // so that the grant of the zero value is not none
	grant Grant
}

// Grant is a user's place among the first of a campaign. The zero value means
// that they hold none.
type Grant struct {
	Campaign string // its id
	Rank     int64  // from 1
	Discount int64  // percent, from 0 to 100
}

// Grant returns what the user holds in the campaign that runs, or ErrUnknown.
func (u User) Grant() (Grant, error) {
	if !u.known {
		return Grant{}, ErrUnknown
	}
	return u.grant, nil
}

// Parse reads all lines of a request's Earlybird header. As RFC 9651 section 4
// says, lines are one dictionary, the last of equal members counts, and a header
// that breaks the syntax is no header. Parameters and unknown members are
// ignored: later versions may add some. The error is ErrUnauthenticated, with the
// reason; it repeats nothing of the header.
func Parse(lines []string) (User, error) {
	if len(lines) == 0 {
		return User{}, unauthenticated("the request has no Earlybird header")
	}
	d, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return User{}, unauthenticated("the Earlybird header is not a structured-field dictionary")
	}
	u := User{ID: text(d, "user"), TokenID: text(d, "token")}
	if u.ID == "" || u.TokenID == "" {
		return User{}, unauthenticated("the Earlybird header does not name a user and a token")
	}
	// Its one value today is unknown. Another can mean no more than that either.
	if _, ok := d.Get("grant"); ok {
		return u, nil
	}
	u.known = true
	for _, name := range []string{"campaign", "rank", "discount"} {
		if _, ok := d.Get(name); ok {
			u.grant, err = parseGrant(d)
			break
		}
	}
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// parseGrant wants the whole of a grant: half of one is not what Kong sends.
func parseGrant(d *httpsfv.Dictionary) (Grant, error) {
	rank, hasRank := item(d, "rank").(int64)
	discount, hasDiscount := item(d, "discount").(int64)
	g := Grant{Campaign: text(d, "campaign"), Rank: rank, Discount: discount}
	if g.Campaign == "" || !hasRank || rank < 1 || !hasDiscount || discount < 0 || discount > 100 {
		return Grant{}, unauthenticated("the grant in the Earlybird header lacks a campaign, a rank from 1, or a discount from 0 to 100")
	}
	return g, nil
}

func text(d *httpsfv.Dictionary, name string) string {
	s, _ := item(d, name).(string)
	return s
}

// item returns the value of a member that is an item, or nil.
func item(d *httpsfv.Dictionary, name string) any {
	m, _ := d.Get(name)
	i, _ := m.(httpsfv.Item)
	return i.Value
}

func unauthenticated(why string) error { return fmt.Errorf("%w: %s", ErrUnauthenticated, why) }
