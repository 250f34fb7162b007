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

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
)

// grant is a document of the collection grants; `_id` is "campaign:user".
type grant struct {
	ID        string    `bson:"_id"`
	Campaign  string    `bson:"campaign"`
	UserID    string    `bson:"user_id"`
	Rank      int64     `bson:"rank"`
	GrantedAt time.Time `bson:"granted_at"`
}

func (g grant) domain() campaign.Grant {
	return campaign.Grant{CampaignID: g.Campaign, UserID: g.UserID, Rank: g.Rank, GrantedAt: g.GrantedAt.UTC()}
}

// waiting is a document of the collection waiting; `_id` is "campaign:user".
type waiting struct {
	ID       string    `bson:"_id"`
	Campaign string    `bson:"campaign"`
	UserID   string    `bson:"user_id"`
	Position int64     `bson:"position"`
	At       time.Time `bson:"at"`
}

func (w waiting) domain() campaign.Waiting {
	return campaign.Waiting{CampaignID: w.Campaign, UserID: w.UserID, Position: w.Position, At: w.At.UTC()}
}

// conflict is a document of the collection conflicts; `_id` is
// "campaign:rank:user".
type conflict struct {
	ID       string    `bson:"_id"`
	Campaign string    `bson:"campaign"`
	UserID   string    `bson:"user_id"`
	Rank     int64     `bson:"rank"`
	Holder   string    `bson:"holder"`
	FoundAt  time.Time `bson:"found_at"`
}

func (c conflict) domain() campaign.Conflict {
	return campaign.Conflict{CampaignID: c.Campaign, UserID: c.UserID, Rank: c.Rank, Holder: c.Holder, FoundAt: c.FoundAt.UTC()}
}

func (s *Store) grants() *mongo.Collection    { return s.db.Collection("grants") }
func (s *Store) waiting() *mongo.Collection   { return s.db.Collection("waiting") }
func (s *Store) conflicts() *mongo.Collection { return s.db.Collection("conflicts") }

func arrivalID(campaignID, userID string) string { return campaignID + ":" + userID }

// AddGrants implements campaign.Records.
func (s *Store) AddGrants(ctx context.Context, grants []campaign.Grant) ([]campaign.Conflict, error) {
	docs := make([]grant, len(grants))
	for i, g := range grants {
		docs[i] = grant{
			ID: arrivalID(g.CampaignID, g.UserID), Campaign: g.CampaignID, UserID: g.UserID, Rank: g.Rank, GrantedAt: g.GrantedAt,
		}
	}
	refused, err := insertNew(ctx, s.grants(), docs)
	if err != nil {
		return nil, err
	}
	var found []campaign.Conflict
	for _, i := range refused {
		c, err := s.conflictOf(ctx, docs[i])
		if err != nil {
			return nil, err
		}
		if c == nil {
			continue
		}
		if err := s.insert(ctx, s.conflicts(), *c); err != nil && !errors.Is(err, errExists) {
			return nil, err
		}
		found = append(found, c.domain())
	}
	return found, nil
}

// conflictOf tells why a grant was refused: nil when it is stored already.
func (s *Store) conflictOf(ctx context.Context, g grant) (*conflict, error) {
	var held grant
	err := s.find(ctx, s.grants(), g.ID, &held)
	if errors.Is(err, errMissing) {
		filter := bson.D{{Key: "campaign", Value: g.Campaign}, {Key: "rank", Value: g.Rank}}
		err = classify("find in grants", s.grants().FindOne(ctx, filter).Decode(&held))
	}
	if err != nil {
		return nil, err
	}
	if held.UserID == g.UserID && held.Rank == g.Rank {
		return nil, nil
	}
	return &conflict{
		ID: fmt.Sprintf("%s:%d:%s", g.Campaign, g.Rank, g.UserID), Campaign: g.Campaign, UserID: g.UserID,
		Rank: g.Rank, Holder: held.UserID, FoundAt: time.Now().UTC().Truncate(time.Millisecond),
	}, nil
}

// AddWaiting implements campaign.Records.
func (s *Store) AddWaiting(ctx context.Context, list []campaign.Waiting) error {
	docs := make([]waiting, len(list))
	for i, w := range list {
		docs[i] = waiting{
			ID: arrivalID(w.CampaignID, w.UserID), Campaign: w.CampaignID, UserID: w.UserID, Position: w.Position, At: w.At,
		}
	}
	_, err := insertNew(ctx, s.waiting(), docs)
	return err
}

// insertNew inserts documents in one request and returns the indexes of those
// that a unique index refused.
func insertNew[T any](ctx context.Context, c *mongo.Collection, docs []T) ([]int, error) {
	if len(docs) == 0 {
		return nil, nil
	}
	_, err := c.InsertMany(ctx, docs, options.InsertMany().SetOrdered(false))
	var bulk mongo.BulkWriteException
	if err == nil || !errors.As(err, &bulk) || bulk.WriteConcernError != nil || len(bulk.WriteErrors) == 0 {
		return nil, classify("insert into "+c.Name(), err)
	}
	const duplicateKey = 11000
	refused := make([]int, len(bulk.WriteErrors))
	for i, e := range bulk.WriteErrors {
		if e.Code != duplicateKey {
			return nil, classify("insert into "+c.Name(), err)
		}
		refused[i] = e.Index
	}
	return refused, nil
}

// Grant implements campaign.Records.
func (s *Store) Grant(ctx context.Context, campaignID, userID string) (campaign.Grant, error) {
	var g grant
	err := s.find(ctx, s.grants(), arrivalID(campaignID, userID), &g)
	if errors.Is(err, errMissing) {
		return campaign.Grant{}, campaign.ErrNoGrant
	}
	return g.domain(), err
}

// Arrived implements campaign.Records.
func (s *Store) Arrived(ctx context.Context, campaignID, userID string) (bool, error) {
	for _, c := range []*mongo.Collection{s.grants(), s.waiting()} {
		err := s.find(ctx, c, arrivalID(campaignID, userID), &bson.D{})
		if !errors.Is(err, errMissing) {
			return err == nil, err
		}
	}
	return false, nil
}

// Grants implements campaign.Records.
func (s *Store) Grants(ctx context.Context, campaignID string) iter.Seq2[campaign.Grant, error] {
	return stream(ctx, s.grants(), campaignID, "rank", grant.domain)
}

// Waiting implements campaign.Records.
func (s *Store) Waiting(ctx context.Context, campaignID string) iter.Seq2[campaign.Waiting, error] {
	return stream(ctx, s.waiting(), campaignID, "position", waiting.domain)
}

// Conflicts implements campaign.Records.
func (s *Store) Conflicts(ctx context.Context, campaignID string) ([]campaign.Conflict, error) {
	var all []campaign.Conflict
	for c, err := range stream(ctx, s.conflicts(), campaignID, "rank", conflict.domain) {
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// stream yields the documents of a campaign in the order of a field.
func stream[D, T any](ctx context.Context, c *mongo.Collection, campaignID, order string, domain func(D) T) iter.Seq2[T, error] {
	opts := options.Find().SetSort(bson.D{{Key: order, Value: 1}})
	return read(ctx, c, bson.D{{Key: "campaign", Value: campaignID}}, opts, domain)
}

// SuccessfulLogins implements keeper.Logins.
func (s *Store) SuccessfulLogins(ctx context.Context, before time.Time) iter.Seq2[keeper.Login, error] {
	filter := bson.D{
		{Key: "outcome", Value: string(account.OutcomeSuccess)},
		{Key: "at", Value: bson.D{{Key: "$lt", Value: before}}},
	}
	return read(ctx, s.logins(), filter, options.Find(), func(l login) keeper.Login {
		return keeper.Login{UserID: l.UserID, At: l.At.UTC()}
	})
}
