-- What every script begins with.

-- server_run_id names the running server: another one after every restart and
-- fail-over. A server that cannot tell (miniredis, which keeps nothing over a
-- restart anyway) has the name 'none'.
local function server_run_id()
  local info = redis.pcall('INFO', 'server')
  if type(info) ~= 'string' then return 'none' end
  local _, last = string.find(info, 'run_id:', 1, true)
  if not last then return 'none' end
  return string.sub(info, last + 1, last + 40)
end

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- phase says whether logins count now: open, none (not started), paused, ended.
local function phase(status, starts_at, ends_at, now)
  if status == 'none' then return 'none' end
  if status == 'ended' or (ends_at > 0 and now >= ends_at) then return 'ended' end
  if status == 'paused' then return 'paused' end
  if now < starts_at then return 'none' end
  return 'open'
end
