-- Says that a restorer is still at work, so that nobody takes over from it.
--
-- KEYS: campaign
-- ARGV: the restorer's token
if redis.call('HGET', KEYS[1], 'restorer') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'restorer_at', now_ms())
end
