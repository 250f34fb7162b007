package password

import (
	"strings"
	"unicode/utf8"

	"github.com/ccojocar/zxcvbn-go"
	"github.com/ccojocar/zxcvbn-go/match"
	"github.com/ccojocar/zxcvbn-go/matching"
)

// MaxScore is the best that Strength says.
const MaxScore = 4

// Bounds on what zxcvbn is shown, in bytes. Its cost grows with the cube of the
// length and worse: 128 characters took it 4.4 s. A password that is guessed by
// what it begins with is not saved by what follows often enough to wait for it.
const (
	strengthPrefix = 32
	hintBytes      = 64
)

// plainLetters undoes the usual replacements of letters by what looks like
// them. zxcvbn would try every combination of them, which takes it a quarter of
// a second for 24 characters.
var plainLetters = strings.NewReplacer(
	"4", "a", "@", "a", "8", "b", "(", "c", "{", "c", "3", "e", "6", "g", "9", "g",
	"1", "i", "!", "i", "|", "l", "0", "o", "$", "s", "5", "s", "7", "t", "+", "t", "%", "x", "2", "z",
)

// Strength estimates how well a password withstands guessing, from 0 (at once)
// to MaxScore, by zxcvbn, and says what to do about it. Hints are words that a
// guesser would try first, such as the username. It takes some milliseconds:
// call it inside the gate (see Hasher.HashIf).
func Strength(password string, hints ...string) (score int, advice string) {
	shown := prefix(password, strengthPrefix)
	words := []string{"earlybird"}
	for _, h := range hints {
		words = append(words, prefix(h, hintBytes))
	}
	found := zxcvbn.PasswordStrength(shown, words, matching.FilterL33tMatcher)
	if plain := plainLetters.Replace(shown); plain != shown {
		undone := zxcvbn.PasswordStrength(plain, words, matching.FilterL33tMatcher)
		// A guesser has to try the replacements too: a factor of four.
		if undone.Entropy+2 < found.Entropy {
			found = undone
		}
	}
	return found.Score, adviceOn(longest(found.MatchSequence))
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
func longest(parts []match.Match) match.Match {
	var found match.Match
	for _, p := range parts {
		if p.Pattern != "bruteforce" && len(p.Token) > len(found.Token) {
			found = p
		}
	}
	return found
}

// adviceOn says what makes a password with this part easy to guess and what to
// do. It repeats nothing of the password.
func adviceOn(part match.Match) string {
	const more = "; four or more unrelated words are easy to remember and hard to guess"
	switch {
	case part.Pattern == "dictionary" && part.DictionaryName == "user_inputs":
		return "is too easy to guess: it is built on your username" + more
	case part.Pattern == "dictionary" && strings.HasPrefix(strings.ToLower(part.DictionaryName), "password"):
		return "is too easy to guess: it is much like a password that many people use" + more
	case part.Pattern == "dictionary":
		return "is too easy to guess: it is one common word or name, or few of them" + more
	case part.Pattern == "spatial":
		return "is too easy to guess: it follows the keys of a keyboard" + more
	case part.Pattern == "repeat":
		return "is too easy to guess: it repeats a character" + more
	case part.Pattern == "sequence":
		return "is too easy to guess: it is a sequence such as abc or 123" + more
	case part.Pattern == "date":
		return "is too easy to guess: it is a date" + more
	default:
		return "is too easy to guess: make it longer" + more
	}
}
