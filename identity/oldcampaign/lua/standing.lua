-- Reads where one user stands, and changes nothing.
--
-- KEYS: campaign, arrivals
-- ARGV: user id
-- Answers {verdict, campaign id, position, slots}: the verdict is 'known' when
-- the user has a position, 'unknown' when that cannot be told, 'open' when a
-- login of this user would get a position now, else 'closed'.
local c = redis.call('HMGET', KEYS[1], 'status', 'id', 'slots', 'waitlist', 'last',
  'starts_at', 'ends_at', 'run_id')
local id, slots, last = c[2], tonumber(c[3]), tonumber(c[5])
if not (c[1] and slots and last) then return {'unknown', '', 0, 0} end
local position = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]))
if position and position <= slots then return {'known', id, position, slots} end
if c[8] ~= server_run_id() then return {'unknown', id, 0, slots} end
if position then return {'known', id, position, slots} end
if redis.call('ZCARD', KEYS[2]) ~= last then return {'unknown', id, 0, slots} end
local open = phase(c[1], tonumber(c[6]), tonumber(c[7]), now_ms())
if open ~= 'open' then return {'closed', id, 0, slots} end
if last >= slots + tonumber(c[4]) then return {'closed', id, 0, slots} end
return {'open', id, 0, slots}
