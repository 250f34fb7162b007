-- Adds revocations to the stream, and counts them. Each entry names the one
-- before it, so that a reader notices when the stream is not the one it read.
--
-- ARGV: origin, then for each: jti or '', user, generation, until
-- Answers {'ok', id of the last entry}.
local last = redis.call('HGET', KEYS[2], 'last') or ''
for i = 2, #ARGV, 4 do
  if ARGV[i] ~= '' then
    last = redis.call('XADD', KEYS[1], '*', 'jti', ARGV[i], 'until', ARGV[i + 3], 'prev', last)
  else
    last = redis.call('XADD', KEYS[1], '*', 'user', ARGV[i + 1], 'gen', ARGV[i + 2], 'until', ARGV[i + 3], 'prev', last)
  end
end
redis.call('HSET', KEYS[2], 'last', last)
redis.call('HINCRBY', KEYS[2], 'count', (#ARGV - 1) / 4)
return {'ok', last}
