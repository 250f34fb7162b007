-- Removes entries that are older than a number of milliseconds by the server's
-- clock, and counts them out.
--
-- KEYS: stream, state
-- ARGV: milliseconds
local before = redis.call('XLEN', KEYS[1])
if before == 0 then return 0 end
redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f', now_ms() - tonumber(ARGV[1])))
local gone = before - redis.call('XLEN', KEYS[1])
if gone > 0 then redis.call('HINCRBY', KEYS[2], 'count', -gone) end
return gone
