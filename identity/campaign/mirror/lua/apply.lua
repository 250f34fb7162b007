-- ARGV: origin, epoch, campaign, from, hash before from, last seq the caller
-- knows, beat, who releases the turn, number of entries; for each entry FIELDS
-- values; then all users, in the order of the entries.
local origin, epoch, campaign, from, prev = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5]
local known, beat, release, n = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], tonumber(ARGV[9])
local HEAD, FIELDS, TRIM = 9, 9, 1000
local final = from + n - 1 -- the last seq of the batch

if release ~= '' and redis.call('GET', KEYS[5]) == release then
  redis.call('DEL', KEYS[5])
end

local m = read()
local function say(answer)
  local r = reply(m)
  r[#r + 1] = answer
  return r
end

if m.origin ~= '' and m.origin ~= origin then
  return say('foreign')
end
if epoch < m.epoch or epoch < m.stream_epoch then
  return say('newer')
end

if m.epoch < epoch or m.seq < 0 or not m.intact then
  -- It begins anew. One that is not intact may be all that is left of a longer
  -- log: only a caller who has everything that it shows may do so.
  if (m.epoch == epoch and known < m.seq) or (m.stream_epoch == epoch and known < m.stream_seq) then
    return say('ahead')
  end
  if from > 0 then
    m.epoch, m.seq, m.hash = epoch, -1, ''
    return say('missing')
  end
  if m.intact and tonumber(m.id) < tonumber(campaign) then
    redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3]) -- the log is kept until this campaign has ended
  else
    redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6])
  end
  m.epoch, m.seq, m.hash, m.id, m.last, m.voids, m.limit, m.phase, m.settings = epoch, -1, '', campaign, 0, 0, '0', 'none', ''
  m.beat = 0 -- the last one vouched for what is gone
elseif from > m.seq + 1 then
  return say('missing')
end

-- The hashes chain: where the last common entry is the same, all before are.
local common = math.min(final, m.seq)
if common >= 0 then
  local theirs, ours = prev, m.hash
  if common >= from then
    theirs = ARGV[HEAD + (common - from) * FIELDS + 2]
  end
  if common < m.seq then
    local id = string.format('%.0f-%.0f', epoch, common + 1)
    local kept = redis.call('XRANGE', KEYS[4], id, id)[1]
    ours = kept and cjson.decode(kept[2][2]).hash or theirs
  end
  if theirs ~= ours then
    return say('diverged')
  end
end
if final < m.seq then
  return say('ahead')
end

local user = HEAD + n * FIELDS -- the argument before the next user
local places = {}
local function place(least)
  if #places >= least then
    redis.call('ZADD', KEYS[2], unpack(places))
    places = {}
  end
end
for i = 1, n do
  local at = HEAD + (i - 1) * FIELDS
  local json, hash, phase, limit, settings = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  local void, reinstate, first, users = ARGV[at + 6], ARGV[at + 7], tonumber(ARGV[at + 8]), tonumber(ARGV[at + 9])
  local seq = from + i - 1
  if seq > m.seq then
    for j = 1, users do
      places[#places + 1] = first + j - 1
      places[#places + 1] = ARGV[user + j]
      place(1000)
    end
    if users > 0 then m.last = first + users - 1 end
    if void ~= '' then m.voids = m.voids + redis.call('SADD', KEYS[3], void) end
    if reinstate ~= '' then m.voids = m.voids - redis.call('SREM', KEYS[3], reinstate) end
    redis.call('XADD', KEYS[4], ARGV[2] .. '-' .. seq + 1, 'entry', json)
    if phase ~= '' then m.phase = phase end
    if limit ~= '' then m.limit = limit end
    if settings ~= '' then m.settings = settings end
    m.seq, m.hash = seq, hash
  end
  user = user + users
end
place(1)
m.beat = math.max(m.beat, beat)
redis.call('HSET', KEYS[1], 'origin', origin, 'epoch', string.format('%.0f', epoch), 'id', campaign,
  'settings', m.settings, 'limit', m.limit, 'phase', m.phase, 'last', string.format('%.0f', m.last),
  'voids', string.format('%.0f', m.voids), 'beat', string.format('%.0f', m.beat), 'hash', m.hash,
  'seq', string.format('%.0f', m.seq))

-- The log of the campaign before goes when this one has ended, a part a call.
if m.phase == 'ended' then
  local before = redis.call('XLEN', KEYS[4]) - (m.seq + 1)
  local start = string.format('%.0f-0', epoch)
  if before > TRIM then
    redis.call('XTRIM', KEYS[4], 'MINID', '~', start, 'LIMIT', TRIM)
  elseif before > 0 then
    redis.call('XTRIM', KEYS[4], 'MINID', start)
  end
end
m = read()
return say('ok')
