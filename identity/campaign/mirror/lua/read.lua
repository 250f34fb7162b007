-- KEYS: campaign, arrivals, voided, log, turn, outbox (of an earlier build), next.
-- Nothing here writes. Each other script begins with this one.

-- read returns what the mirror holds. A campaign without an origin is not of
-- this build: it counts as empty, unless the log says whose it is.
local function read()
  local v = redis.call('HMGET', KEYS[1], 'origin', 'epoch', 'seq', 'hash', 'last', 'voids', 'beat', 'id', 'limit', 'phase', 'settings')
  local m = {origin = '', epoch = 0, seq = -1, hash = '', last = 0, voids = 0, beat = 0, id = '0', limit = '0', phase = 'none',
    settings = '', stream = '', stream_epoch = 0, stream_seq = -1, intact = false}
  local newest = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)[1]
  if newest then
    m.stream = newest[1]
    local epoch, n = string.match(m.stream, '^(%d+)-(%d+)$')
    m.stream_epoch, m.stream_seq = tonumber(epoch), tonumber(n) - 1
  end
  if not v[1] then
    local oldest = newest and redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', 1)[1]
    m.origin = oldest and string.match(oldest[2][2], '"origin":"([^"]*)"') or ''
    return m
  end
  m.origin, m.epoch, m.seq, m.hash = v[1], tonumber(v[2]), tonumber(v[3]), v[4]
  m.last, m.voids, m.beat = tonumber(v[5]), tonumber(v[6]), tonumber(v[7])
  m.id, m.limit, m.phase, m.settings = v[8], v[9], v[10], v[11]
  local in_stream = m.stream == ''
  if m.seq >= 0 then
    in_stream = m.stream_epoch == m.epoch and m.stream_seq == m.seq
  end
  m.intact = in_stream and redis.call('ZCARD', KEYS[2]) == m.last and redis.call('SCARD', KEYS[3]) == m.voids
  return m
end

-- reply is what Go's parseSummary reads.
local function reply(m, ...)
  return {m.origin, string.format('%.0f', m.epoch), string.format('%.0f', m.seq), m.hash, m.stream, m.intact and '1' or '0',
    string.format('%.0f', m.last), string.format('%.0f', m.beat), m.id, m.limit, m.phase, m.settings, ...}
end
