-- phase says whether logins count now: open, none (not started), paused, ended.
local function phase(status, starts_at, ends_at, now)
  if status == 'none' then return 'none' end
  if status == 'ended' or (ends_at > 0 and now >= ends_at) then return 'ended' end
  if status == 'paused' then return 'paused' end
  if now < starts_at then return 'none' end
  return 'open'
end
