-- Claims a place in the order of first logins for one user.
--
-- KEYS: campaign, arrivals, outbox
-- ARGV: user id; '1' to write in any case, so that a WAIT that follows on this
--       connection waits for everything this answer rests on
-- Answers {state, campaign id, position, discount}.
if ARGV[2] == '1' then redis.call('HSET', KEYS[1], 'fence', '1') end

-- Most claims are of users who have a grant: they are answered first.
local position = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]))
if position then
  local g = redis.call('HMGET', KEYS[1], 'slots', 'id', 'discount')
  if g[1] and position <= tonumber(g[1]) then return {'granted', g[2], position, g[3]} end
end

local c = redis.call('HMGET', KEYS[1], 'status', 'id', 'slots', 'waitlist', 'last',
  'starts_at', 'ends_at', 'discount', 'run_id')
local status, id, slots, last = c[1], c[2], tonumber(c[3]), tonumber(c[5])
if not (status and slots and last) then return {'pending'} end

-- Another server answers than the one this data was checked on: a restart or a
-- fail-over may have lost arrivals, so nobody gets a place and nobody is told
-- that there is none.
if c[9] ~= server_run_id() then return {'pending'} end

local now = now_ms()
local open = phase(status, tonumber(c[6]), tonumber(c[7]), now)
if open ~= 'open' then return {open} end
if position then return {'full'} end
if last >= slots + tonumber(c[4]) then return {'full'} end
if redis.call('ZCARD', KEYS[2]) ~= last then return {'pending'} end

-- The outbox comes first: if it cannot be written, nothing is.
position = last + 1
if position <= slots then
  redis.call('XADD', KEYS[3], '*', 'type', 'arrival', 'campaign', id, 'user', ARGV[1],
    'position', position, 'at', now, 'rank', position)
else
  redis.call('XADD', KEYS[3], '*', 'type', 'arrival', 'campaign', id, 'user', ARGV[1],
    'position', position, 'at', now)
end
redis.call('ZADD', KEYS[2], position, ARGV[1])
redis.call('HSET', KEYS[1], 'last', position)
if position > slots then return {'full'} end
return {'granted', id, position, c[8]}
