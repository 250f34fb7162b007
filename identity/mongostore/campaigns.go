package mongostore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/earlybird/earlybird/identity/oldcampaign"
)

var _ campaign.Ledger = (*Store)(nil)

// campaignVersion is a document of the collection campaigns; its `_id` is
// "id:version". The nonce tells whose insert it was when an answer is lost.
type campaignVersion struct {
	ID          string    `bson:"_id"`
	Nonce       string    `bson:"nonce"`
	Number      int64     `bson:"number"`
	Version     int64     `bson:"version"`
	Name        string    `bson:"name"`
	Description string    `bson:"description"`
	Discount    int64     `bson:"discount"`
	Slots       int64     `bson:"slots"`
	Waitlist    int64     `bson:"waitlist"`
	Status      string    `bson:"status"`
	StartsAt    time.Time `bson:"starts_at,omitempty"`
	EndsAt      time.Time `bson:"ends_at,omitempty"`
	ChangedAt   time.Time `bson:"changed_at"`
	ChangedBy   string    `bson:"changed_by"`
}

func (v campaignVersion) campaign() campaign.Campaign {
	return campaign.Campaign{
		ID: strconv.FormatInt(v.Number, 10), Version: v.Version, Name: v.Name, Description: v.Description,
		Discount: v.Discount, Slots: v.Slots, Waitlist: v.Waitlist, Status: campaign.Status(v.Status),
		StartsAt: v.StartsAt.UTC(), EndsAt: v.EndsAt.UTC(), ChangedAt: v.ChangedAt.UTC(), ChangedBy: v.ChangedBy,
	}
}

func (s *Store) campaigns() *mongo.Collection { return s.db.Collection("campaigns") }

// Newest implements campaign.History.
func (s *Store) Newest(ctx context.Context) (campaign.Campaign, error) {
	return s.newest(ctx, bson.D{})
}

// Campaign implements campaign.History.
func (s *Store) Campaign(ctx context.Context, id string) (campaign.Campaign, error) {
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return campaign.Campaign{}, fmt.Errorf("campaign %q: %w", id, campaign.ErrNoCampaign)
	}
	return s.newest(ctx, bson.D{{Key: "number", Value: number}})
}

func (s *Store) newest(ctx context.Context, filter bson.D) (campaign.Campaign, error) {
	var v campaignVersion
	opts := options.FindOne().SetSort(bson.D{{Key: "number", Value: -1}, {Key: "version", Value: -1}})
	err := s.campaigns().FindOne(ctx, filter, opts).Decode(&v)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return campaign.Campaign{}, campaign.ErrNoCampaign
	}
	if err != nil {
		return campaign.Campaign{}, classify("find in campaigns", err)
	}
	return v.campaign(), nil
}

// AddVersion implements campaign.History.
func (s *Store) AddVersion(ctx context.Context, c campaign.Campaign) error {
	number, err := strconv.ParseInt(c.ID, 10, 64)
	if err != nil {
		return fmt.Errorf("campaign id %q is not a number", c.ID)
	}
	v := campaignVersion{
		ID: fmt.Sprintf("%d:%d", number, c.Version), Nonce: rand.Text(), Number: number, Version: c.Version,
		Name: c.Name, Description: c.Description, Discount: c.Discount, Slots: c.Slots, Waitlist: c.Waitlist,
		Status: string(c.Status), StartsAt: c.StartsAt, EndsAt: c.EndsAt, ChangedAt: c.ChangedAt, ChangedBy: c.ChangedBy,
	}
	err = s.insert(ctx, s.campaigns(), v)
	if !errors.Is(err, errExists) {
		return err
	}
	var held campaignVersion
	if err := s.find(ctx, s.campaigns(), v.ID, &held); err != nil {
		return err
	}
	if held.Nonce == v.Nonce {
		return nil
	}
	return fmt.Errorf("insert into campaigns: %w", campaign.ErrConflict)
}
