-- Says whether the stream is whole, and which filling of it this is.
--
-- KEYS: stream, state
-- Answers {whole, run id of the server, epoch}: whole is 1 when the identity
-- service has filled the stream on the server that runs now, and no entry has
-- gone since but by trim.lua.
local s = redis.call('HMGET', KEYS[2], 'run_id', 'epoch', 'count')
local run_id = server_run_id()
local whole = 0
if s[1] == run_id and s[2] and tonumber(s[3]) == redis.call('XLEN', KEYS[1]) then whole = 1 end
return {whole, run_id, s[2] or ''}
