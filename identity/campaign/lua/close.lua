-- Closes the campaign to claims and hands the caller the right to restore it.
--
-- KEYS: campaign
-- ARGV: the restorer's token; milliseconds for which another restorer is left
--       alone, 0 to take over from it
-- Answers {'closed' or 'busy', run id of the server}.
local now = now_ms()
local c = redis.call('HMGET', KEYS[1], 'restorer', 'restorer_at')
if c[1] and now - tonumber(c[2]) < tonumber(ARGV[2]) then return {'busy', ''} end
redis.call('HSET', KEYS[1], 'restorer', ARGV[1], 'restorer_at', now, 'run_id', '')
return {'closed', server_run_id()}
