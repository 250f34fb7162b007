-- Gives back one to each limit, and remembers the address.
-- KEYS: the account's known addresses, then the limits.
-- ARGV: the address or '', seconds for which it is remembered, how many are, then for
-- each limit: microseconds between two.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for i = 2, #KEYS do
  local held = redis.call('GET', KEYS[i])
  if held then
    local free, every, burst = string.match(held, '^(%d+):(%d+):(%d+)$')
    -- Further ahead than the burst allows: the clock was set back.
    free = math.min(tonumber(free), now + every * burst) - tonumber(ARGV[i + 2])
    if free <= now then
      redis.call('DEL', KEYS[i])
    else
      redis.call('SET', KEYS[i], string.format('%.0f:', free) .. every .. ':' .. burst, 'PX', math.ceil((free - now) / 1000))
    end
  end
end
if ARGV[1] ~= '' then
  local seen = redis.call('ZSCORE', KEYS[1], ARGV[1])
  -- Once a day is enough: a login should not cost a write more than it must. A
  -- time ahead is from before the clock was set back.
  if not seen or math.abs(time[1] - seen) > 86400 then
    redis.call('ZADD', KEYS[1], time[1], ARGV[1])
    redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[3]))
    redis.call('EXPIRE', KEYS[1], ARGV[2])
  end
end
return 1
