-- Removes entries that are older than a number of milliseconds by the server's
-- clock, and counts them out.
--
-- ARGV: origin, milliseconds
local before = redis.call('XLEN', KEYS[1])
if before == 0 then return {'ok'} end
local time = redis.call('TIME')
redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[2])))
local gone = before - redis.call('XLEN', KEYS[1])
if gone > 0 then redis.call('HINCRBY', KEYS[2], 'count', -gone) end
return {'ok'}
