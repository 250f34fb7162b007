-- Says what the stream is worth at this moment.
--
-- KEYS: stream, state
-- Answers {whole, origin, epoch, last, beat}: whole is 1 when no entry has gone
-- since the epoch began but by trim.lua.
local s = redis.call('HMGET', KEYS[2], 'origin', 'epoch', 'last', 'beat', 'count')
local whole = 0
if s[1] and s[2] and s[3] and tonumber(s[5]) == redis.call('XLEN', KEYS[1]) then whole = 1 end
return {whole, s[1] or '', s[2] or '', s[3] or '', s[4] or '0'}
