-- ARGV: me, epoch and seq of the asker, milliseconds, milliseconds that somebody
-- has waited at the asker, for how long it is remembered who is next

-- Of those who ask, the one where somebody has waited longest is next.
local next_one = redis.call('GET', KEYS[7])
local waited, who = string.match(next_one or '', '^(%d+) (.*)$')
if who and who ~= ARGV[1] and tonumber(waited) >= tonumber(ARGV[5]) then
  return 'taken'
end
redis.call('SET', KEYS[7], ARGV[5] .. ' ' .. ARGV[1], 'PX', ARGV[6])

local v = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
local epoch, seq = tonumber(v[1] or 0), tonumber(v[2] or -1)
if epoch > tonumber(ARGV[2]) or epoch == tonumber(ARGV[2]) and seq > tonumber(ARGV[3]) then
  return 'behind'
end
local holder = redis.call('GET', KEYS[5])
if holder and holder ~= ARGV[1] then
  return 'next'
end
redis.call('SET', KEYS[5], ARGV[1], 'PX', ARGV[4])
redis.call('DEL', KEYS[7])
return 'given'
