-- Removes the consumers that have ended: nothing is left with them, and they
-- have not asked for long. It is one script because removing a consumer that
-- was given entries meanwhile would lose them.
--
-- KEYS: outbox
-- ARGV: group, milliseconds without asking
-- Answers how many were removed.
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return 0 end -- no stream, or no group yet
local removed = 0
for _, flat in ipairs(consumers) do
  local c = {}
  for i = 1, #flat, 2 do c[flat[i]] = flat[i + 1] end
  if c.pending == 0 and c.idle >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], c.name)
    removed = removed + 1
  end
end
return removed
