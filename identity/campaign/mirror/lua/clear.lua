-- ARGV: origin, epoch, seq
local m = read()
if m.origin ~= ARGV[1] or m.epoch ~= tonumber(ARGV[2]) or m.seq ~= tonumber(ARGV[3]) then
  return 0
end
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6])
return 1
