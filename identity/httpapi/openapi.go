package httpapi

import (
	"bytes"
	_ "embed" // the description
	"encoding/json"
	"regexp"
)

// description is openapi.json, written by hand. The contract test holds every
// answer against it, and its examples against what problemOf answers.
//
//go:embed openapi.json
var description []byte

// codeMember is where the description lists the member code of a registration.
var codeMember = regexp.MustCompile(`(?m)^ *"code": \{.*\},\n|, "code"`)

// describe returns the description of a version of the program; codes says whether
// registrations take an enrolment code.
func describe(version string, codes bool) []byte {
	text := description
	if !codes {
		text = codeMember.ReplaceAll(text, nil)
	}
	quoted, err := json.Marshal(version)
	if err != nil { // no string fails
		return text
	}
	return bytes.Replace(text, []byte(`"version": "dev"`), append([]byte(`"version": `), quoted...), 1)
}
