package campaign

import (
	_ "embed" // the scripts

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed lua/server.lua
	serverLua string
	//go:embed lua/claim.lua
	claimLua string
	//go:embed lua/standing.lua
	standingLua string
	//go:embed lua/state.lua
	stateLua string
	//go:embed lua/apply.lua
	applyLua string
	//go:embed lua/close.lua
	closeLua string
	//go:embed lua/renew.lua
	renewLua string
	//go:embed lua/open.lua
	openLua string
)

var (
	claimScript    = redis.NewScript(serverLua + claimLua)
	standingScript = redis.NewScript(serverLua + standingLua)
	stateScript    = redis.NewScript(serverLua + stateLua)
	applyScript    = redis.NewScript(serverLua + applyLua)
	closeScript    = redis.NewScript(serverLua + closeLua)
	renewScript    = redis.NewScript(serverLua + renewLua)
	openScript     = redis.NewScript(serverLua + openLua)
)
