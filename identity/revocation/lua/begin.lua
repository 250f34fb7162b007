-- Begins to fill the stream, or joins another replica that has begun. What is
-- in the stream stays and is counted, so that mark.lua can tell whether any of
-- it went.
--
-- KEYS: stream, state
-- ARGV: token of the filling
-- Answers the token to mark with, or '' when the stream is whole.
local run_id = server_run_id()
local s = redis.call('HMGET', KEYS[2], 'run_id', 'count', 'filling', 'filling_on')
local counted = tonumber(s[2]) == redis.call('XLEN', KEYS[1])
if counted and s[1] == run_id then return '' end
if counted and s[3] and s[4] == run_id then return s[3] end
redis.call('HDEL', KEYS[2], 'run_id')
redis.call('HSET', KEYS[2], 'filling', ARGV[1], 'filling_on', run_id,
  'count', redis.call('XLEN', KEYS[1]))
return ARGV[1]
