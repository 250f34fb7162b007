-- Begins each script that writes. KEYS: stream, state. ARGV[1]: origin of the
-- caller's database. Revocations of another database are not touched; where no
-- origin is noted nothing contradicts.
local theirs = redis.call('HGET', KEYS[2], 'origin')
if theirs and theirs ~= ARGV[1] then return {'foreign', theirs} end
