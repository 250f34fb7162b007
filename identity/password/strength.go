package password

import (
	"strings"
	"unicode/utf8"

	"github.com/trustelem/zxcvbn"
	"github.com/trustelem/zxcvbn/frequency"
	"github.com/trustelem/zxcvbn/match"
)

// MaxScore is the best that Strength says.
const MaxScore = 4

// Bounds on what zxcvbn is shown, in bytes. Its cost grows with the square of the
// length and worse: 128 characters take it up to half a second. A password that is
// guessed by what it begins with is not saved by what follows often enough to
// wait for it.
const (
	strengthPrefix = 32
	hintBytes      = 64
)

// zxcvbn makes maps of its lists of words when the program starts, and does not
// look at the lists again: they go.
func init() { frequency.FrequencyLists = nil }

// Strength estimates how well a password withstands guessing, from 0 (at once)
// to MaxScore, by zxcvbn, and says what to do about it. Hints are words that a
// guesser would try first, such as the username; the name of this service is one
// always. A password that many people use is below 2, whatever else it looks
// like: zxcvbn knows 30,000 from breaches. It takes some milliseconds: call it
// inside the gate (see Hasher.HashIf).
func Strength(password string, hints ...string) (score int, advice string) {
	words := []string{"earlybird"}
	for _, h := range hints {
		words = append(words, prefix(h, hintBytes))
	}
	rest := without(password, hints)
	score, advice = estimate(rest, words)
	if rest == password {
		return score, advice
	}
	// What is left may look stronger than the whole: "pword123!" of "password123!".
	whole, _ := estimate(password, words[:1])
	return min(score, whole), builtOnName
}

func estimate(password string, words []string) (score int, advice string) {
	found := zxcvbn.PasswordStrength(prefix(password, strengthPrefix), words)
	// It misses much of what repeats itself when the letters are not ASCII.
	if part := repeated(password); part != "" {
		return min(found.Score, zxcvbn.PasswordStrength(prefix(part, strengthPrefix), words).Score), repeats
	}
	return found.Score, adviceOn(longest(found.Sequence))
}

// repeated returns what a password consists of, at least twice in a row, or "".
func repeated(password string) string {
	for i := range password {
		if i > 0 && 2*i <= len(password) && strings.HasPrefix(password, password[i:]) {
			return password[:i]
		}
	}
	return ""
}

// without returns what a password has beside the hints, in any case. zxcvbn
// finds them disguised, but not when they are longer than what it is shown, nor
// when they end in a letter that is not ASCII.
func without(password string, hints []string) string {
	lower := strings.ToLower(password)
	rest := lower
	for _, h := range hints {
		if h != "" {
			rest = strings.ReplaceAll(rest, strings.ToLower(h), "")
		}
	}
	if rest == lower {
		return password
	}
	return rest
}

// prefix returns at most n bytes of s, and no half of a character.
func prefix(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// longest returns the guessable part that covers most of the password.
func longest(parts []*match.Match) *match.Match {
	found := &match.Match{}
	for _, p := range parts {
		if p.Pattern != "bruteforce" && len(p.Token) > len(found.Token) {
			found = p
		}
	}
	return found
}

const (
	more        = "; four or more unrelated words are easy to remember and hard to guess"
	builtOnName = "is too easy to guess: it is built on your username or on our name" + more
	repeats     = "is too easy to guess: it repeats itself" + more
)

// adviceOn says what makes a password with this part easy to guess and what to
// do. It repeats nothing of the password.
func adviceOn(part *match.Match) string {
	switch {
	case part.Pattern == "dictionary" && part.DictionaryName == "user_inputs":
		return builtOnName
	case part.Pattern == "dictionary" && part.DictionaryName == "passwords":
		return "is too easy to guess: it is much like a password that many people use" + more
	case part.Pattern == "dictionary":
		return "is too easy to guess: it is one common word or name, or few of them" + more
	case part.Pattern == "spatial":
		return "is too easy to guess: it follows the keys of a keyboard" + more
	case part.Pattern == "repeat":
		return repeats
	case part.Pattern == "sequence":
		return "is too easy to guess: it is a sequence such as abc or 123" + more
	case part.Pattern == "date" || part.Pattern == "regex": // a year
		return "is too easy to guess: it is a date" + more
	default:
		return "is too easy to guess: make it longer" + more
	}
}
