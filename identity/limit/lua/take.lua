-- Takes one from every limit, or from none if one of them has none left.
-- KEYS: the account's known addresses, then one key for each limit.
-- ARGV: the address in that set, its age in seconds after which it is forgotten,
-- then for each limit: microseconds between two, burst, 1 if a known address is spared.
-- Returns the number of the limit that refuses (0: none), microseconds to wait, 1 if the address is known.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local known = 0
local seen = redis.call('ZSCORE', KEYS[1], ARGV[1])
-- Seen more than a day ahead, the clock was set back by more than that: it is seen anew at the next success.
local ago = seen and time[1] - seen
if ago and ago < tonumber(ARGV[2]) and ago > -86400 then known = 1 end
local refused, wait, taken = 0, 0, {}
for i = 2, #KEYS do
  local every, burst, spare = tonumber(ARGV[3 * i - 3]), tonumber(ARGV[3 * i - 2]), ARGV[3 * i - 1]
  if not (spare == '1' and known == 1) then
    local held = redis.call('GET', KEYS[i])
    local free = held and tonumber(string.match(held, '^%d+')) or 0
    -- Further ahead than the burst allows: the clock was set back, or the rate was changed.
    free = math.min(math.max(free, now), now + every * burst)
    free = free + every
    local early = free - every * burst - now
    if early > wait then refused, wait = i - 1, early end
    taken[#taken + 1] = {KEYS[i], free, every, burst}
  end
end
if refused == 0 then
  for _, t in ipairs(taken) do
    local value = string.format('%.0f:%.0f:%.0f', t[2], t[3], t[4])
    redis.call('SET', t[1], value, 'PX', math.ceil((t[2] - now) / 1000))
  end
end
return {refused, wait, known}
