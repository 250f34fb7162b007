// Package strictjson finds names that occur twice in a JSON object, which
// encoding/json takes without a word: two readers of one text, of whom one takes
// the first and the other the last, would see different things (RFC 8725 section
// 2.4).
package strictjson

import (
	"bytes"
	"encoding/json"
)

// UniqueNames reports whether no object in data, at any depth, has two members
// of one name, compared after unescaping. data must be valid JSON.
func UniqueNames(data []byte) bool {
	type level struct {
		names  map[string]bool // nil in an array
		inName bool            // the next string is a member's name
	}
	var stack []level
	valueDone := func() {
		if n := len(stack); n > 0 {
			stack[n-1].inName = stack[n-1].names != nil
		}
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // a number that no float64 holds would end the walk
	for {
		tok, err := dec.Token()
		if err != nil {
			return true // io.EOF
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, level{names: map[string]bool{}, inName: true})
			continue
		case json.Delim('['):
			stack = append(stack, level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
			valueDone()
			continue
		}
		name, isString := tok.(string)
		if n := len(stack); isString && n > 0 && stack[n-1].inName {
			if stack[n-1].names[name] {
				return false
			}
			stack[n-1].names[name] = true
			stack[n-1].inName = false
			continue
		}
		valueDone()
	}
}
