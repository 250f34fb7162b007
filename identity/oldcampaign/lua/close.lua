-- Closes the campaign to claims and hands the caller the right to restore it.
--
-- KEYS: campaign
-- ARGV: a token for this attempt; who makes it; milliseconds for which the
--       attempt of somebody else is left alone, 0 to take over from it
-- Answers {'closed' or 'busy', run id of the server}.
local now = now_ms()
local c = redis.call('HMGET', KEYS[1], 'restorer', 'restorer_by', 'restorer_at')
-- A time to come tells nothing: the clock was set back.
local age = now - (tonumber(c[3]) or 0)
if c[1] and c[2] ~= ARGV[2] and age >= 0 and age < tonumber(ARGV[3]) then return {'busy', ''} end
redis.call('HSET', KEYS[1], 'restorer', ARGV[1], 'restorer_by', ARGV[2], 'restorer_at', now, 'run_id', '')
return {'closed', server_run_id()}
