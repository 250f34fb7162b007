-- Removes the revocations of one database, to make room for another's.
--
-- ARGV: the origin whose revocations they are, as it was shown
-- Answers 1; 0: they are of another origin by now, and stay.
if (redis.call('HGET', KEYS[2], 'origin') or '') ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1], KEYS[2])
return 1
