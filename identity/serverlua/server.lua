-- server_run_id names the running server as a primary: it is another one after
-- every restart, which gives a new run id, and every fail-over, which gives a
-- new replication id. The run id alone would not tell of a server that was
-- replaced, took over what its replacement had, and is the primary again. The
-- replication id is also a new one when the first replica comes, and when the
-- last has been gone for an hour: one comparison more, and nothing else.
--
-- A server that cannot tell (miniredis, which keeps nothing over a restart
-- anyway) has the name '/'.
local function server_run_id()
  local function told(section, pattern)
    local info = redis.pcall('INFO', section)
    return type(info) == 'string' and string.match(info, pattern) or ''
  end
  return told('server', 'run_id:(%x+)') .. '/' .. told('replication', 'master_replid:(%x+)')
end

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
