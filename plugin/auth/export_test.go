package auth

// People is the number of users of whom a token is remembered.
func (c *Checker) People() int {
	c.people.mu.Lock()
	defer c.people.mu.Unlock()
	return len(c.people.byUser)
}
