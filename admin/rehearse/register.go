package rehearse

import (
	"context"
	"crypto/rand"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/earlybird/earlybird/identity/account"
)

// Prefix begins the names of all accounts that rehearsals register.
const Prefix = "rehearsal-"

// NewUsers are n users who have no account yet, and a run's own prefix of their
// names. Their passwords are random and kept nowhere else.
func NewUsers(n int) (prefix string, users []User) {
	prefix = Prefix + strings.ToLower(rand.Text()[:6]) + "-"
	users = make([]User, n)
	for i := range users {
		users[i] = User{Name: fmt.Sprintf("%s%06d", prefix, i+1), Password: rand.Text()}
	}
	return prefix, users
}

// ReadUsers reads accounts that exist: lines of username and password as CSV
// (RFC 4180), with or without a heading. Its errors name the line and never
// repeat a password.
func ReadUsers(r io.Reader) ([]User, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	rows := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(text), "\ufeff")))
	rows.FieldsPerRecord = -1
	seen := map[string]int{}
	var users []User
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var wrong *csv.ParseError
		if errors.As(err, &wrong) {
			return nil, fmt.Errorf("line %d: %w", wrong.Line, wrong.Err)
		}
		line, _ := rows.FieldPos(0)
		switch {
		case len(row) != 2 || row[0] == "" || row[1] == "":
			return nil, fmt.Errorf("line %d: must be a username and a password with a comma between them", line)
		case !utf8.ValidString(row[0]) || !utf8.ValidString(row[1]):
			return nil, fmt.Errorf("line %d: is not UTF-8", line)
		case len(users) == 0 && len(seen) == 0 && strings.EqualFold(row[0], "username") && strings.EqualFold(row[1], "password"):
			seen[""] = line // the heading
			continue
		}
		canonical, err := account.Canonical(row[0])
		if err != nil {
			return nil, fmt.Errorf("line %d: no username: %w", line, err)
		}
		if seen[canonical] > 0 {
			return nil, fmt.Errorf("line %d: %q is on line %d as well", line, row[0], seen[canonical])
		}
		seen[canonical] = line
		if users = append(users, User{Name: row[0], Password: row[1]}); len(users) > MaxUsers {
			return nil, fmt.Errorf("line %d: there may be %d accounts at most", line, MaxUsers)
		}
	}
	if len(users) == 0 {
		return nil, errors.New("there are no accounts in it: write a line for each, username,password")
	}
	return users, nil
}

// ErrEnrolment reports that only those who have an enrolment code can register.
var ErrEnrolment = errors.New("registration asks for an enrolment code")

// registering is how many accounts are registered at once: enough to keep any
// queue for hashing busy.
const registering = 64

// Registered is how the registration went.
type Registered struct {
	Accounts int
	Took     time.Duration
	Limited  int // answers of 429
}

// Register registers the users as fast as the system takes them, honouring
// Retry-After. It fails with the first refusal, with ErrEnrolment among others, or when ctx
// ends; accounts may have been made by then.
func Register(ctx context.Context, c *Client, users []User, progress func(done int)) (Registered, error) {
	var done, limited atomic.Int64
	began := time.Now()
	group, one := errgroup.WithContext(ctx)
	group.SetLimit(registering)
	for _, u := range users {
		if one.Err() != nil {
			break
		}
		group.Go(func() error {
			err := c.register(one, u, func(a Answer) {
				if a.Status == http.StatusTooManyRequests {
					limited.Add(1)
				}
			})
			if err == nil {
				progress(int(done.Add(1)))
			}
			return err
		})
	}
	err := group.Wait()
	if err == nil {
		err = ctx.Err()
	}
	return Registered{Accounts: int(done.Load()), Took: time.Since(began), Limited: int(limited.Load())}, err
}

// register makes one account. A name that is taken is the user's own, from a try
// whose answer was lost: names are random.
func (c *Client) register(ctx context.Context, u User, answered func(Answer)) error {
	a, err := c.ask(ctx, "/users", u, time.Now(), answered)
	if err != nil {
		return fmt.Errorf("register %s: %w", u.Name, err)
	}
	detail, fields := a.refusal()
	switch {
	case a.status == http.StatusCreated || a.status == http.StatusConflict:
		return nil
	case slices.Contains(fields, "code"):
		return ErrEnrolment
	default:
		return fmt.Errorf("register %s: %d %s", u.Name, a.status, detail)
	}
}
