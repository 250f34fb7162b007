package campaign

// Waiting is how many claims wait for a trip to Redis.
func (c *Claimer) Waiting() int {
	c.trips.mu.Lock()
	defer c.trips.mu.Unlock()
	return len(c.trips.waiting)
}
