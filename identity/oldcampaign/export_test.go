package campaign

// Waiting is how many claims wait for a trip to Redis.
func (c *Claimer) Waiting() int { return c.trips.Waiting() }
