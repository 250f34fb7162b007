package mongostore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"

	"github.com/earlybird/earlybird/identity/account"
)

var _ account.AdminStore = (*Store)(nil)

// credential is a document of the collection credentials.
type credential struct {
	Canonical  string `bson:"_id"`
	UserID     string `bson:"user_id"`
	Password   string `bson:"password"`
	Generation int64  `bson:"generation"`
	Disabled   bool   `bson:"disabled"`
	// OneTimeUntil is not there when it is zero, which is nearly always.
	OneTimeUntil int64 `bson:"one_time_until,omitempty"`
}

// user is a document of the collection users.
type user struct {
	ID        string    `bson:"_id"`
	Username  string    `bson:"username"`
	Canonical string    `bson:"canonical"`
	CreatedAt time.Time `bson:"created_at"`
	Customer  string    `bson:"customer,omitempty"`
}

func newUser(u account.User) user {
	return user{ID: u.ID, Username: u.Username, Canonical: u.Canonical, CreatedAt: u.CreatedAt, Customer: u.Customer}
}

func (u user) user() account.User {
	return account.User{ID: u.ID, Username: u.Username, Canonical: u.Canonical, CreatedAt: u.CreatedAt.UTC(), Customer: u.Customer}
}

func (s *Store) credentials() *mongo.Collection { return s.db.Collection("credentials") }
func (s *Store) users() *mongo.Collection       { return s.db.Collection("users") }

// CreateUser implements account.Store. The user is stored first, not yet
// visible, and the insert of the credential decides which user holds the name.
func (s *Store) CreateUser(ctx context.Context, u account.User, c account.Credential) error {
	err := s.insert(ctx, s.users(), newUser(u))
	if err != nil && !errors.Is(err, errExists) { // ids are random: it exists because an answer was lost
		return err
	}
	err = s.insert(ctx, s.credentials(), credential(c))
	if !errors.Is(err, errExists) {
		return err
	}
	held, err := s.Credential(ctx, c.Canonical)
	if err != nil {
		return err
	}
	if held.UserID == c.UserID {
		return nil
	}
	s.forget(ctx, u.ID)
	return fmt.Errorf("insert into credentials: %w", account.ErrUsernameTaken)
}

// forget removes the user of an account that lost its name to another. When it
// fails the orphan stays, and is unreachable.
func (s *Store) forget(ctx context.Context, id string) {
	if err := s.DeleteUser(ctx, id); err != nil {
		s.log.WarnContext(ctx, "user without a name not removed", "user_id", id, "err", err)
	}
}

// Credential implements account.Store.
func (s *Store) Credential(ctx context.Context, canonical string) (account.Credential, error) {
	var c credential
	if err := s.find(ctx, s.credentials(), canonical, &c); err != nil {
		return account.Credential{}, notFound(err)
	}
	return account.Credential(c), nil
}

// ReplacePassword implements account.Store.
func (s *Store) ReplacePassword(ctx context.Context, canonical, old, phc string) error {
	unlock, err := s.changing.lock(ctx, canonical)
	if err != nil {
		return classify("update credentials", err)
	}
	defer unlock()
	filter := bson.D{{Key: "_id", Value: canonical}, {Key: "password", Value: old}}
	change := bson.D{{Key: "$set", Value: bson.D{{Key: "password", Value: phc}}}}
	result, err := s.credentials().UpdateOne(ctx, filter, change)
	if err != nil {
		return classify("update credentials", err)
	}
	if result.MatchedCount > 0 {
		return nil
	}
	_, err = s.Credential(ctx, canonical) // changed meanwhile, or not there at all?
	return err
}

// ReplaceCredential implements account.Store. One update at a time decides it,
// which MongoDB sees to by itself; on a server whose updates are not atomic
// the lock does among the callers of this process, and what another process
// has overwritten is found by reading again.
func (s *Store) ReplaceCredential(ctx context.Context, old, next account.Credential) error {
	unlock, err := s.changing.lock(ctx, old.Canonical)
	if err != nil {
		return classify("update credentials", err)
	}
	defer unlock()
	filter := bson.D{
		{Key: "_id", Value: old.Canonical},
		{Key: "user_id", Value: old.UserID},
		{Key: "password", Value: old.Password},
		{Key: "generation", Value: old.Generation},
		{Key: "disabled", Value: old.Disabled},
		{Key: "one_time_until", Value: orNull(old.OneTimeUntil)}, // null: not there
	}
	change := bson.D{{Key: "$set", Value: bson.D{
		{Key: "password", Value: next.Password},
		{Key: "generation", Value: next.Generation},
		{Key: "disabled", Value: next.Disabled},
		{Key: "one_time_until", Value: orNull(next.OneTimeUntil)},
	}}}
	if _, err := s.credentials().UpdateOne(ctx, filter, change); err != nil {
		return classify("update credentials", err)
	}
	held, err := s.Credential(ctx, old.Canonical)
	if err == nil && held != next {
		err = fmt.Errorf("update credentials: %w", account.ErrChanged)
	}
	return err
}

// orNull is how a number that is absent when it is zero is looked for.
func orNull(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

// User implements account.Store.
func (s *Store) User(ctx context.Context, id string) (account.User, error) {
	var u user
	err := s.find(ctx, s.profiles.Collection("users"), id, &u)
	if errors.Is(err, errMissing) && s.behind {
		err = s.find(ctx, s.users(), id, &u)
	}
	if err != nil {
		return account.User{}, notFound(err)
	}
	return u.user(), nil
}

func notFound(err error) error {
	if errors.Is(err, errMissing) {
		return fmt.Errorf("%w: %w", account.ErrNotFound, err)
	}
	return err
}

// Credentials implements account.AdminStore.
func (s *Store) Credentials(ctx context.Context, prefix string, disabledOnly bool) iter.Seq2[account.Credential, error] {
	filter := bson.D{}
	if prefix != "" { // U+10FFFF is in no name
		filter = append(filter, bson.E{Key: "_id", Value: bson.D{{Key: "$gte", Value: prefix}, {Key: "$lt", Value: prefix + "\U0010FFFF"}}})
	}
	if disabledOnly {
		filter = append(filter, bson.E{Key: "disabled", Value: true})
	}
	byName := options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetProjection(bson.D{{Key: "password", Value: 0}})
	return read(ctx, s.credentials(), filter, byName, func(c credential) account.Credential { return account.Credential(c) })
}

// userReaders is how many users are looked up at once.
const userReaders = 8

// Users implements account.AdminStore. It asks for one `_id` at a time, the only
// lookup that is indexed on every server.
func (s *Store) Users(ctx context.Context, ids []string) (map[string]account.User, error) {
	users := make([]account.User, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(userReaders)
	for i, id := range ids {
		g.Go(func() error {
			var err error
			if users[i], err = s.User(ctx, id); errors.Is(err, account.ErrNotFound) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	found := make(map[string]account.User, len(ids))
	for _, u := range users {
		if u.ID != "" {
			found[u.ID] = u
		}
	}
	return found, nil
}

// Usernames returns the usernames of users by their ids, of those that there
// are.
func (s *Store) Usernames(ctx context.Context, userIDs []string) (map[string]string, error) {
	users, err := s.Users(ctx, userIDs)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string, len(users))
	for id, u := range users {
		names[id] = u.Username
	}
	return names, nil
}

// DeleteUser implements account.AdminStore.
func (s *Store) DeleteUser(ctx context.Context, id string) error {
	_, err := s.users().DeleteOne(ctx, bson.D{{Key: "_id", Value: id}})
	return classify("delete from users", err)
}

// DeleteCredential implements account.AdminStore.
func (s *Store) DeleteCredential(ctx context.Context, canonical, userID string) error {
	_, err := s.credentials().DeleteOne(ctx, bson.D{{Key: "_id", Value: canonical}, {Key: "user_id", Value: userID}})
	return classify("delete from credentials", err)
}
