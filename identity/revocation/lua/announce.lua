-- Adds revocations to the stream, and counts them.
--
-- KEYS: stream, state
-- ARGV: for each: jti or '', user, generation, until
for i = 1, #ARGV, 4 do
  if ARGV[i] ~= '' then
    redis.call('XADD', KEYS[1], '*', 'jti', ARGV[i], 'until', ARGV[i + 3])
  else
    redis.call('XADD', KEYS[1], '*', 'user', ARGV[i + 1], 'gen', ARGV[i + 2], 'until', ARGV[i + 3])
  end
end
redis.call('HINCRBY', KEYS[2], 'count', #ARGV / 4)
return 'ok'
