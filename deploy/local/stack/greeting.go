package stack

import (
	"fmt"
	"strings"
)

// greet says what runs where, and what to type next.
func (s *stack) greet() {
	var b strings.Builder
	front := s.cfg.identityURL()
	b.WriteString("\nEarlybird runs on this machine.\n\n")
	if s.cfg.Gateway != "" {
		front = "http://" + reachable(s.cfg.Gateway)
		fmt.Fprintf(&b, "  gateway    %s   a stand-in for Kong, with the real plugins\n", front)
	}
	fmt.Fprintf(&b, "  identity   %s\n", s.cfg.identityURL())
	fmt.Fprintf(&b, "  MongoDB    %s   FerretDB on SQLite, embedded\n", s.cfg.mongoURL())
	fmt.Fprintf(&b, "  Redis      %s   %s\n", s.cfg.redisURL(), s.redis)
	fmt.Fprintf(&b, "  state      %s\n", s.cfg.Data)
	if len(s.notes) > 0 {
		fmt.Fprintf(&b, "\nIn kong.yml, and without effect here: %s.\n", strings.Join(s.notes, "; "))
	}
	if s.seed != "" {
		fmt.Fprintf(&b, "\n%s\n", s.seed)
	}
	fmt.Fprintf(&b, "\nTry it in a browser: %s/docs\n", front)
	b.WriteString("\nType next, in another terminal:\n\n")
	if s.cfg.Gateway == "" {
		fmt.Fprintf(&b, "  bin/earlybird kong render --identity %s --redis %s   prints kong.yml for a Kong of your own\n", s.cfg.identityURL(), s.cfg.redisURL())
	}
	code := ""
	if s.cfg.Registration == "code" {
		code = `,"code":"<the code>"`
		fmt.Fprintf(&b, "  echo C-1 > customers.csv && %s enrol issue --customers customers.csv --yes   prints the code for customer C-1\n", s.adminCommand())
	}
	fmt.Fprintf(&b, `  curl -i %[1]s/users -H 'Content-Type: application/json' -d '{"username":"ada","password":"correct horse battery staple"%[3]s}'
  curl -i %[1]s/login -H 'Content-Type: application/json' -d '{"username":"ada","password":"correct horse battery staple"}'
  curl -i %[1]s/promotion -H "Authorization: Bearer <the token>"
  %[2]s campaign status

Ctrl-C stops everything.
`, front, s.adminCommand(), code)
	_, _ = fmt.Fprintln(s.cfg.Stdout, b.String())
}

// adminCommand is the command line for this stack: its defaults are the
// default addresses.
func (s *stack) adminCommand() string {
	program := "bin/earlybird"
	if s.cfg.Mongo == DefaultMongo && s.cfg.Redis == DefaultRedis {
		return program
	}
	return fmt.Sprintf("EARLYBIRD_MONGO_URL=%s EARLYBIRD_REDIS_URL=%s %s", s.cfg.mongoURL(), s.cfg.redisURL(), program)
}
