package command

import (
	"context"
	"flag"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/identity/mongostore"
)

// completionTime is how long completion waits for MongoDB: a person waits for a key
// to do something.
const completionTime = 300 * time.Millisecond

// completedNames is how many usernames are offered at most.
const completedNames = 50

// fromStore looks into the MongoDB that the line or the environment names, and offers
// nothing when it does not answer soon.
func fromStore(ctx context.Context, app *cli.App, l line, look func(context.Context, *mongostore.Store) []candidate) []candidate {
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	set := flag.NewFlagSet("", flag.ContinueOnError)
	for _, f := range storeFlags() {
		_ = f.Apply(set) // it fails for no string
	}
	for i, word := range l.flags {
		name, value, given := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if !isFlag(word) || set.Lookup(name) == nil {
			continue
		}
		if !given && i+1 < len(l.flags) {
			value = l.flags[i+1]
		}
		_ = set.Set(name, value)
	}
	store, err := mongostore.Connect(ctx, mongoConfig(cli.NewContext(app, set, nil)))
	if err != nil {
		return nil
	}
	defer func() { _ = store.Close(ctx) }() // the process ends
	return look(ctx, store)
}

// campaignNumbers are the campaigns there were, with their names.
func campaignNumbers(ctx context.Context, store *mongostore.Store) []candidate {
	var all []candidate
	for number := int64(1); ; number++ {
		start, err := store.Entry(ctx, number, 0)
		if err != nil || start.Settings == nil {
			return all
		}
		all = append(all, candidate{strconv.FormatInt(number, 10), start.Settings.Name})
	}
}

// plainName is a username that means itself to every shell. Users choose their
// names: one such as $(reboot) is valid, and is not put onto an operator's line.
var plainName = regexp.MustCompile(`^[\pL\pN][\pL\pN\pM._@-]*$`)

// usernames are the names that begin as what was typed.
func usernames(start string) func(context.Context, *mongostore.Store) []candidate {
	return func(ctx context.Context, store *mongostore.Store) []candidate {
		var all []candidate
		for c, err := range store.Credentials(ctx, start, false) {
			if err != nil || len(all) == completedNames {
				break
			}
			if plainName.MatchString(c.Canonical) {
				all = append(all, candidate{word: c.Canonical})
			}
		}
		return all
	}
}
