package main

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/keyring"
	"github.com/earlybird/earlybird/identity/limit"
)

// signingkey makes the first key, as the identity service does: signingkey SECRETFILE.
func signingkey(ts *testscript.TestScript, _ bool, args []string) {
	secret, err := keyring.LoadSecret(ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = keyring.Open(context.Background(), keyring.Config{
		Store: openStore(ts), Secret: secret, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	ts.Check(err)
}

// attempts fails to log in so often: attempts alice 3. The limits are small.
func attempts(ts *testscript.TestScript, _ bool, args []string) {
	store := openStore(ts)
	l := limit.New(limit.Config{
		Redis: openRedis(ts), Account: limit.Rate{Burst: 10, Every: time.Hour}, Both: limit.Rate{Burst: 3, Every: time.Hour},
	})
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	for range n {
		_, err := l.Take(context.Background(), args[0], "192.0.2.7")
		ts.Check(err)
		ts.Check(store.RecordAttempt(context.Background(), account.Attempt{
			UserID: strings.ToUpper(args[0]), At: time.Now(), Outcome: account.OutcomeWrongPassword, IP: "192.0.2.7", RequestID: "r",
		}))
	}
}
