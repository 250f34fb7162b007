package mongostore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/enrolment"
)

var _ enrolment.Store = (*Store)(nil)

// enrolmentCode is a document of the collection enrolments by which a code is found.
// Its `_id` is the hash of the code. The server may delete it once it has expired.
type enrolmentCode struct {
	Hash     string    `bson:"_id"`
	Customer string    `bson:"customer"`
	Number   int64     `bson:"number"`
	Expires  time.Time `bson:"expires"`
	IssuedBy string    `bson:"issued_by"`
}

// enrolmentIssue is a document of the same collection. Its `_id` is
// "customer:number", so that it decides who issued or revoked, and so that the
// latest of a customer is found by `_id` alone. It has no member named expires, and
// stays: without it the numbers would begin again.
type enrolmentIssue struct {
	ID       string    `bson:"_id"`
	Customer string    `bson:"customer"`
	Number   int64     `bson:"number"`
	Hash     string    `bson:"code,omitempty"`
	Until    time.Time `bson:"until,omitempty"`
	At       time.Time `bson:"at"`
	IssuedBy string    `bson:"issued_by"`
}

func issueID(customer string, number int64) string {
	return customer + ":" + strconv.FormatInt(number, 10)
}

// customer is a document of the collection customers.
type customer struct {
	Reference string    `bson:"_id"`
	UserID    string    `bson:"user_id"`
	At        time.Time `bson:"at"`
	Pending   *pending  `bson:"pending,omitempty"`
}

// pending is an account that may not have been created yet.
type pending struct {
	User       user       `bson:"user"`
	Credential credential `bson:"credential"`
}

func (s *Store) enrolments() *mongo.Collection { return s.db.Collection("enrolments") }
func (s *Store) customers() *mongo.Collection  { return s.db.Collection("customers") }

// AddIssues implements enrolment.Store. The codes are stored first: nobody is told
// one before the insert of its issue has decided, and after that it is found.
func (s *Store) AddIssues(ctx context.Context, issues []enrolment.Issue) ([]int, error) {
	var codes, docs []any
	for _, i := range issues {
		if i.Hash != "" {
			codes = append(codes, enrolmentCode{Hash: i.Hash, Customer: i.Customer, Number: i.Number, Expires: i.Expires, IssuedBy: i.By})
		}
		docs = append(docs, enrolmentIssue{
			ID: issueID(i.Customer, i.Number), Customer: i.Customer, Number: i.Number, Hash: i.Hash, Until: i.Expires, At: i.At, IssuedBy: i.By,
		})
	}
	if _, err := s.insertMany(ctx, s.enrolments(), codes); err != nil {
		return nil, err
	}
	there, err := s.insertMany(ctx, s.enrolments(), docs)
	if err != nil {
		return nil, err
	}
	var held []int
	for _, at := range there {
		stored, err := s.Issue(ctx, issues[at].Customer, issues[at].Number)
		if err != nil {
			return nil, err
		}
		if stored != issues[at] { // else the answer to the first try was lost
			held = append(held, at)
		}
	}
	return held, nil
}

// insertMany stores documents, and returns the indexes of those whose `_id` is
// held, in order; as with insert it may be held by the very document.
func (s *Store) insertMany(ctx context.Context, c *mongo.Collection, docs []any) ([]int, error) {
	if len(docs) == 0 {
		return nil, nil
	}
	unordered := options.InsertMany().SetOrdered(false)
	_, err := c.InsertMany(ctx, docs, unordered)
	if interrupted(err) && ctx.Err() == nil {
		_, err = c.InsertMany(ctx, docs, unordered)
	}
	var bulk mongo.BulkWriteException
	if !errors.As(err, &bulk) || bulk.WriteConcernError != nil {
		return nil, classify("insert into "+c.Name(), err)
	}
	var held []int
	for _, one := range bulk.WriteErrors {
		if !mongo.IsDuplicateKeyError(one) {
			return nil, classify("insert into "+c.Name(), one)
		}
		held = append(held, one.Index)
	}
	return held, nil
}

// Issue implements enrolment.Store.
func (s *Store) Issue(ctx context.Context, reference string, number int64) (enrolment.Issue, error) {
	var doc enrolmentIssue
	if err := s.find(ctx, s.enrolments(), issueID(reference, number), &doc); err != nil {
		return enrolment.Issue{}, unknown(err)
	}
	return enrolment.Issue{
		Customer: doc.Customer, Number: doc.Number, Hash: doc.Hash, Expires: utc(doc.Until), At: doc.At.UTC(), By: doc.IssuedBy,
	}, nil
}

// utc is a time of the store; the zero time stays what it is.
func utc(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return at.UTC()
}

// Code implements enrolment.Store.
func (s *Store) Code(ctx context.Context, hash string) (enrolment.Issue, error) {
	var doc enrolmentCode
	if err := s.find(ctx, s.enrolments(), hash, &doc); err != nil {
		return enrolment.Issue{}, unknown(err)
	}
	return enrolment.Issue{Customer: doc.Customer, Number: doc.Number, Hash: doc.Hash, Expires: doc.Expires.UTC(), By: doc.IssuedBy}, nil
}

// AddClaim implements enrolment.Store.
func (s *Store) AddClaim(ctx context.Context, c enrolment.Claim) error {
	doc := customer{Reference: c.Customer, UserID: c.UserID, At: c.At}
	if p := c.Pending; p != nil {
		doc.Pending = &pending{newUser(p.User), credential(p.Credential)}
	}
	err := s.insert(ctx, s.customers(), doc)
	if !errors.Is(err, errExists) {
		return err
	}
	held, err := s.Claim(ctx, c.Customer)
	if err != nil {
		return err
	}
	if held.UserID != c.UserID {
		return fmt.Errorf("insert into customers: %w", enrolment.ErrClaimed)
	}
	return nil
}

// Claim implements enrolment.Store.
func (s *Store) Claim(ctx context.Context, reference string) (enrolment.Claim, error) {
	var doc customer
	if err := s.find(ctx, s.customers(), reference, &doc); err != nil {
		return enrolment.Claim{}, unknown(err)
	}
	c := enrolment.Claim{Customer: doc.Reference, UserID: doc.UserID, At: doc.At.UTC()}
	if p := doc.Pending; p != nil {
		c.Pending = &enrolment.Pending{User: p.User.user(), Credential: account.Credential(p.Credential)}
	}
	return c, nil
}

// SettleClaim implements enrolment.Store.
func (s *Store) SettleClaim(ctx context.Context, reference, userID string) error {
	return s.changeClaim(ctx, reference, userID, func(filter bson.D) error {
		_, err := s.customers().UpdateOne(ctx, filter, bson.D{{Key: "$unset", Value: bson.D{{Key: "pending", Value: ""}}}})
		return err
	})
}

// RemoveClaim implements enrolment.Store.
func (s *Store) RemoveClaim(ctx context.Context, reference, userID string) error {
	return s.changeClaim(ctx, reference, userID, func(filter bson.D) error {
		_, err := s.customers().DeleteOne(ctx, filter)
		return err
	})
}

// changeClaim changes a claim if it is of this user. On a server whose updates are
// not atomic the lock keeps the claim from becoming another's meanwhile, as far as
// this process is concerned.
func (s *Store) changeClaim(ctx context.Context, reference, userID string, change func(filter bson.D) error) error {
	unlock, err := s.changing.lock(ctx, reference)
	if err != nil {
		return classify("update customers", err)
	}
	defer unlock()
	return classify("update customers", change(bson.D{{Key: "_id", Value: reference}, {Key: "user_id", Value: userID}}))
}

func unknown(err error) error {
	if errors.Is(err, errMissing) {
		return fmt.Errorf("%w: %w", enrolment.ErrNotFound, err)
	}
	return err
}
