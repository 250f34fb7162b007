-- Marks the stream as whole, unless it was emptied, or the server restarted,
-- since the filling began.
--
-- KEYS: stream, state
-- ARGV: token of the filling
-- Answers 'marked' or 'lost'.
local s = redis.call('HMGET', KEYS[2], 'filling', 'filling_on', 'count')
local run_id = server_run_id()
if s[1] ~= ARGV[1] or s[2] ~= run_id or tonumber(s[3]) ~= redis.call('XLEN', KEYS[1]) then
  return 'lost'
end
redis.call('HDEL', KEYS[2], 'filling', 'filling_on')
redis.call('HSET', KEYS[2], 'run_id', run_id, 'epoch', ARGV[1])
return 'marked'
