package campaign

import (
	_ "embed" // the scripts

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/serverlua"
)

var (
	//go:embed lua/phase.lua
	phaseLua string
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
	claimScript    = redis.NewScript(serverlua.Functions + phaseLua + claimLua)
	standingScript = redis.NewScript(serverlua.Functions + phaseLua + standingLua)
	stateScript    = redis.NewScript(serverlua.Functions + stateLua)
	applyScript    = redis.NewScript(serverlua.Functions + applyLua)
	closeScript    = redis.NewScript(serverlua.Functions + closeLua)
	renewScript    = redis.NewScript(serverlua.Functions + renewLua)
	openScript     = redis.NewScript(serverlua.Functions + openLua)
)
