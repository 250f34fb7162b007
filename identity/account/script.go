package account

import "unicode"

// eastAsian are the sets of scripts that one language writes together, each
// with Latin (UTS 39 section 5.2).
var eastAsian = []map[string]bool{
	{"Latin": true, "Han": true, "Hiragana": true, "Katakana": true},
	{"Latin": true, "Han": true, "Bopomofo": true},
	{"Latin": true, "Han": true, "Hangul": true},
}

// mixesScripts reports whether name fails the Highly Restrictive level of
// UTS 39: its letters are of more than one script, and not of a set that
// Chinese, Japanese or Korean use together.
func mixesScripts(name string) bool {
	scripts := map[string]bool{}
	for _, r := range name {
		if s := scriptOf(r); s != "" {
			scripts[s] = true
		}
	}
	if len(scripts) <= 1 {
		return false
	}
	for _, together := range eastAsian {
		if within(scripts, together) {
			return false
		}
	}
	return true
}

func within(scripts, set map[string]bool) bool {
	for s := range scripts {
		if !set[s] {
			return false
		}
	}
	return true
}

// scriptOf returns the script of r, or "" for what every script uses: digits,
// punctuation and combining marks.
func scriptOf(r rune) string {
	if r < 0x80 {
		if 'a' <= r|0x20 && r|0x20 <= 'z' {
			return "Latin"
		}
		return ""
	}
	if unicode.In(r, unicode.Common, unicode.Inherited) {
		return ""
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return name
		}
	}
	return "Unknown"
}
