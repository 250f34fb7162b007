-- Puts what a restore has prepared in place of the campaign and its arrivals,
-- if nobody else has taken over since and the server is still the same.
--
-- KEYS: campaign, arrivals, outbox, staged arrivals, staged entries
-- ARGV: the restorer's token, run id of the server at the close, number of
--       staged arrivals, number of values in the staged entries,
--       then pairs of the hash's fields (last among them)
-- Answers 'opened', also when it is asked again because the answer was lost, or
-- 'superseded' and changes nothing.
local c = redis.call('HMGET', KEYS[1], 'restorer', 'opened_by', 'run_id')
local run_id = server_run_id()
if c[2] == ARGV[1] and c[3] == run_id then return 'opened' end
if c[1] ~= ARGV[1] or run_id ~= ARGV[2] then return 'superseded' end
if redis.call('ZCARD', KEYS[4]) ~= tonumber(ARGV[3]) or redis.call('LLEN', KEYS[5]) ~= tonumber(ARGV[4]) then
  return 'superseded'
end

redis.call('UNLINK', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'run_id', run_id, 'opened_by', ARGV[1], unpack(ARGV, 5))
if redis.call('EXISTS', KEYS[4]) == 1 then
  redis.call('RENAME', KEYS[4], KEYS[2])
  redis.call('PERSIST', KEYS[2])
end
local id = redis.call('HGET', KEYS[1], 'id')
redis.call('XADD', KEYS[3], '*', 'type', 'restored', 'campaign', id)

-- Staged entries come in threes: type, user, position; whoever is within the
-- slots is granted.
local slots = tonumber(redis.call('HGET', KEYS[1], 'slots'))
local entries = redis.call('LRANGE', KEYS[5], 0, -1)
for i = 1, #entries, 3 do
  local kind, user, position = entries[i], entries[i + 1], tonumber(entries[i + 2])
  if kind == 'grant' or position <= slots then
    redis.call('XADD', KEYS[3], '*', 'type', 'grant', 'campaign', id, 'user', user, 'rank', position)
  else
    redis.call('XADD', KEYS[3], '*', 'type', 'arrival', 'campaign', id, 'user', user, 'position', position)
  end
end
redis.call('DEL', KEYS[5])
return 'opened'
