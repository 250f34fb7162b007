-- Moves the campaign forward to a version of its settings, never back.
--
-- KEYS: campaign, arrivals, outbox
-- ARGV: id, version, slots, then pairs of the hash's other fields
-- Answers 'applied'; 'current' when Redis has this version or a later one;
-- 'closed' when Redis must be restored first.
local c = redis.call('HMGET', KEYS[1], 'status', 'id', 'version', 'slots', 'last', 'run_id')
if not (c[1] and c[6]) or c[6] ~= server_run_id() then return 'closed' end

local number, version, slots = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local old_number, old_version = tonumber(c[2]) or 0, tonumber(c[3])
if number < old_number or (number == old_number and version <= old_version) then return 'current' end

local last, old_slots = tonumber(c[5]), tonumber(c[4])
if number > old_number then
  redis.call('UNLINK', KEYS[2])
  last, old_slots = 0, 0
end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'version', ARGV[2], 'slots', ARGV[3], 'last', last,
  unpack(ARGV, 4))
redis.call('XADD', KEYS[3], '*', 'type', 'campaign', 'campaign', ARGV[1], 'version', ARGV[2])

-- Those who were turned away and are within the slots now, in their order.
local upto = math.min(slots, last)
if upto > old_slots then
  local raised = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. old_slots, upto, 'WITHSCORES')
  for i = 1, #raised, 2 do
    redis.call('XADD', KEYS[3], '*', 'type', 'grant', 'campaign', ARGV[1], 'user', raised[i],
      'rank', raised[i + 1])
  end
end
return 'applied'
