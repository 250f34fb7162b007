-- Begins a new epoch unless the stream is whole. What is in the stream stays and
-- is counted; what is missing is announced afterwards, and only then does a beat
-- say that nothing is. The entry it adds wakes every reader.
--
-- ARGV: origin, new epoch, epoch that is known to have lost entries or ''
-- Answers {'ok', the epoch in force}.
local s = redis.call('HMGET', KEYS[2], 'origin', 'epoch', 'count', 'last')
if s[1] and s[2] and s[4] and s[2] ~= ARGV[3] and tonumber(s[3]) == redis.call('XLEN', KEYS[1]) then
  return {'ok', s[2]}
end
local end_ = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local last = redis.call('XADD', KEYS[1], '*', 'epoch', ARGV[2], 'prev', end_[1] and end_[1][1] or '')
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'origin', ARGV[1], 'epoch', ARGV[2], 'count', redis.call('XLEN', KEYS[1]), 'last', last)
return {'ok', ARGV[2]}
