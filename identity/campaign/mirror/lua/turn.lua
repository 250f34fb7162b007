-- ARGV: me, epoch and seq of the asker, milliseconds
local v = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
local epoch, seq = tonumber(v[1] or 0), tonumber(v[2] or -1)
if epoch > tonumber(ARGV[2]) or epoch == tonumber(ARGV[2]) and seq > tonumber(ARGV[3]) then
  return 'behind'
end
local holder = redis.call('GET', KEYS[5])
if holder and holder ~= ARGV[1] then
  return 'taken'
end
redis.call('SET', KEYS[5], ARGV[1], 'PX', ARGV[4])
return 'given'
