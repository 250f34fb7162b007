-- Removes entries that are older than a number of milliseconds by the clocks of
-- both the server and the caller, and counts them out: a clock that was set
-- forward alone removes nothing that still matters.
--
-- ARGV: origin, milliseconds, the caller's milliseconds since 1970
local before = redis.call('XLEN', KEYS[1])
if before == 0 then return {'ok'} end
local time = redis.call('TIME')
local now = math.min(time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[3]))
redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f', now - tonumber(ARGV[2])))
local gone = before - redis.call('XLEN', KEYS[1])
if gone > 0 then redis.call('HINCRBY', KEYS[2], 'count', -gone) end
return {'ok'}
