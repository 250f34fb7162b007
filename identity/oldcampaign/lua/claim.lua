-- Claims a place in the order of first logins for one user.
--
-- KEYS: campaign, arrivals, outbox
-- ARGV: user id; '1' to write in any case, so that a WAIT that follows on this
--       connection waits for everything this answer rests on
-- Answers the state, and after 'granted' the campaign id, the rank and the
-- discount, all in one string with spaces: an array of them costs a fifth more.
if ARGV[2] == '1' then redis.call('HSET', KEYS[1], 'fence', '1') end

-- Most claims are of users who have a grant: they are answered first.
local score = redis.call('ZSCORE', KEYS[2], ARGV[1])
if score then
  local slots, id, discount = unpack(redis.call('HMGET', KEYS[1], 'slots', 'id', 'discount'))
  if slots and tonumber(score) <= tonumber(slots) then
    return 'granted ' .. id .. ' ' .. score .. ' ' .. discount
  end
end

local status, id, slots, waitlist, last, starts_at, ends_at, discount, run_id, checked, checked_at =
  unpack(redis.call('HMGET', KEYS[1], 'status', 'id', 'slots', 'waitlist', 'last', 'starts_at', 'ends_at',
    'discount', 'run_id', 'checked', 'checked_at'))
if not (status and slots and last and run_id) then return 'pending' end
local now = now_ms()

-- Another server answers than the one this data was checked on: a restart or a
-- fail-over may have lost arrivals, so nobody gets a place and nobody is told
-- that there is none.
--
-- Asking who the server is costs as much as the rest of the claim, so what it
-- said holds for 100 ms. What is kept of it belongs to the run id that was
-- compared and to this process, whose memory has the table 'redis' at an
-- address that the system picks anew for each; it goes neither to the log nor
-- to a replica, and it counts only within 100 ms by the clock. For another
-- server to take it for its own, it would have to come up with a copy of this
-- memory, at the same address, and in that time. A clock that was set back
-- shows a time before checked_at, which tells nothing: it is asked again.
local here = tostring(redis) .. run_id
local age = now - (tonumber(checked_at) or 0)
if checked ~= here or age < 0 or age >= 100 then
  if run_id ~= server_run_id() then return 'pending' end
  redis.set_repl(redis.REPL_NONE)
  redis.pcall('HSET', KEYS[1], 'checked', here, 'checked_at', now)
  redis.set_repl(redis.REPL_ALL)
end

local open = phase(status, tonumber(starts_at), tonumber(ends_at), now)
if open ~= 'open' then return open end
slots, last = tonumber(slots), tonumber(last)
if score or last >= slots + tonumber(waitlist) then return 'full' end
if redis.call('ZCARD', KEYS[2]) ~= last then return 'pending' end

-- The outbox comes first: if it cannot be written, nothing is.
local position = last + 1
if position <= slots then
  redis.call('XADD', KEYS[3], '*', 'type', 'grant', 'campaign', id, 'user', ARGV[1], 'rank', position)
else
  redis.call('XADD', KEYS[3], '*', 'type', 'arrival', 'campaign', id, 'user', ARGV[1], 'position', position)
end
redis.call('ZADD', KEYS[2], position, ARGV[1])
redis.call('HSET', KEYS[1], 'last', position)
if position > slots then return 'full' end
return 'granted ' .. id .. ' ' .. position .. ' ' .. discount
