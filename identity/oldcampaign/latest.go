package campaign

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/outage"
)

// Latest returns the last positions up to a number of slots, at most count of
// them, the latest first: who was granted last. Its cost does not grow with
// the number of users, a logarithm aside.
func (b *Board) Latest(ctx context.Context, slots int64, count int) ([]Place, error) {
	if slots < 1 || count < 1 {
		return nil, nil
	}
	found, err := b.redis.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{
		Key: KeyArrivals, ByScore: true, Rev: true, Start: strconv.FormatInt(slots, 10), Stop: "1", Count: int64(count),
	}).Result()
	if err != nil {
		return nil, outage.New("redis", "read arrivals", err)
	}
	places := make([]Place, len(found))
	for i, z := range found {
		places[i] = Place{UserID: fmt.Sprint(z.Member), Position: int64(z.Score)}
	}
	return places, nil
}
