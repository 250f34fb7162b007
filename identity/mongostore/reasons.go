package mongostore

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Reasons returns why entries of a campaign's log were appended, by their `_id`: of
// those for which an operator gave a reason.
func (s *Store) Reasons(ctx context.Context, campaign int64) (map[string]string, error) {
	found := map[string]string{}
	filter := bson.D{{Key: "campaign", Value: campaign}}
	for a, err := range read(ctx, s.db.Collection("actions"), filter, options.Find(), func(a Action) Action { return a }) {
		if err != nil {
			return nil, err
		}
		if a.Entry != "" && a.Reason != "" {
			found[a.Entry] = a.Reason
		}
	}
	return found, nil
}
