package token

import (
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/earlybird/earlybird/identity/strictjson"
)

var (
	errJSON      = errors.New("not a JSON object in UTF-8")
	errDuplicate = errors.New("a member occurs twice")
)

// object is a JSON object whose members are looked up by their exact name.
// encoding/json into a struct would take "ALG" for "alg" and the last of two
// members of one name (RFC 8725 section 2.4 warns of such differences).
type object map[string]json.RawMessage

// parseObject reads exactly one JSON object. It refuses invalid UTF-8, anything
// after the object, and two members of one name at any depth (RFC 7515
// section 4, RFC 7519 section 4).
func parseObject(data []byte) (object, error) {
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, errJSON
	}
	if !strictjson.UniqueNames(data) {
		return nil, errDuplicate
	}
	var members object
	if err := json.Unmarshal(data, &members); err != nil || members == nil {
		return nil, errJSON
	}
	return members, nil
}

// text returns a member that is a string and not empty.
func (o object) text(name string) (string, bool) {
	raw, ok := o[name]
	if !ok || len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", false
	}
	return s, s != ""
}

// integer returns a member that is written as a whole number from 0 to limit:
// no sign, fraction, exponent or quotes.
func (o object) integer(name string, limit int64) (int64, bool) {
	raw, ok := o[name]
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(string(raw), 10, 63)
	if err != nil || int64(n) > limit {
		return 0, false
	}
	return int64(n), true
}
