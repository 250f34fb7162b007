-- ARGV: user
return reply(read(), redis.call('ZSCORE', KEYS[2], ARGV[1]) or '0', tostring(redis.call('SISMEMBER', KEYS[3], ARGV[1])))
