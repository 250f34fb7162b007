package token

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"
)

var errJSON = errors.New("not one JSON object in UTF-8 with unique member names")

// object is a JSON object whose members are looked up by their exact name.
// encoding/json into a struct would take "ALG" for "alg" and the last of two
// members of one name (RFC 8725 section 2.4 warns of such differences).
type object map[string]any

// parseObject reads exactly one JSON object. It refuses invalid UTF-8, anything
// after the object, and two members of one name at any depth (RFC 7515
// section 4, RFC 7519 section 4). go-jose's decoder refuses repeated names, but
// only in what it decodes: hence the map, which leaves nothing out.
func parseObject(data []byte) (object, error) {
	if !utf8.Valid(data) {
		return nil, errJSON
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.SetNumberType(json.UnmarshalJSONNumber) // as written: integer looks at the text
	var members object
	if err := dec.Decode(&members); err != nil || members == nil {
		return nil, errJSON // the decoder's own error may quote the token
	}
	var rest any
	if err := dec.Decode(&rest); !errors.Is(err, io.EOF) {
		return nil, errJSON
	}
	return members, nil
}

// text returns a member that is a string and not empty.
func (o object) text(name string) (string, bool) {
	s, _ := o[name].(string)
	return s, s != ""
}

// integer returns a member that is written as a whole number from 0 to limit:
// no sign, fraction, exponent or quotes.
func (o object) integer(name string, limit int64) (int64, bool) {
	number, ok := o[name].(json.Number)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(string(number), 10, 63)
	if err != nil || int64(n) > limit {
		return 0, false
	}
	return int64(n), true
}
