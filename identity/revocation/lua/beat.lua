-- Raises the beat: the caller has just found everything that its database holds
-- in the stream, up to the entries it names. They must still be there, or the
-- stream was rolled back meanwhile; an old one may have been trimmed when
-- nothing came after it.
--
-- ARGV: origin, epoch, milliseconds since 1970, then ids of entries
-- Answers {'ok'} or {'lost'}.
local s = redis.call('HMGET', KEYS[2], 'epoch', 'count', 'last', 'beat')
if s[1] ~= ARGV[2] or tonumber(s[2]) ~= redis.call('XLEN', KEYS[1]) then return {'lost'} end
for i = 4, #ARGV do
  if ARGV[i] ~= s[3] and #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) == 0 then return {'lost'} end
end
redis.call('HSET', KEYS[2], 'beat', string.format('%.0f', math.max(tonumber(ARGV[3]), tonumber(s[4] or 0) + 1)))
return {'ok'}
