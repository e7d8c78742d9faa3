-- Takes units from several limits at once, or from none.
-- KEYS: one a limit. ARGV: the mode ("take", "back"), then six a limit:
--   "rate",  requests, microseconds they are per, burst, cost, shadow
--   "quota", limit, period (1 minute, 2 hour, 3 day, 4 month), rolling, cost, shadow
-- Returns four integers a limit: allowed, remaining, microseconds until a retry
-- makes sense (-1: never), microseconds until all is there again.
-- The server's clock counts. Times are microseconds since EPOCH, so that a
-- double holds them to a fiftieth of a microsecond.
local EPOCH = 1700000000
local clock = redis.call('TIME')
local sec, usec = tonumber(clock[1]), tonumber(clock[2])
local now = (sec - EPOCH) * 1000000 + usec
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min

-- The days of the month around a day, both counted from 1970-01-01; after
-- Hinnant, "chrono-compatible low-level date algorithms".
local function first_day(y, m)
  y = y + floor((m - 1) / 12)
  m = (m - 1) % 12 + 1
  if m <= 2 then y = y - 1 end
  local era = floor(y / 400)
  local yoe = y - era * 400
  local mp = (m + 9) % 12
  local doe = yoe * 365 + floor(yoe / 4) - floor(yoe / 100) + floor((153 * mp + 2) / 5)
  return era * 146097 + doe - 719468
end

local function month_of(day)
  local z = day + 719468
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153)
  local m = (mp + 2) % 12 + 1
  local y = yoe + era * 400
  if m <= 2 then y = y + 1 end
  return y, m
end

-- The window around now, the starts of the one before and the end of the one
-- after, in seconds since 1970.
local function windows(period)
  if period == 4 then
    local y, m = month_of(floor(sec / 86400))
    return first_day(y, m) * 86400, first_day(y, m + 1) * 86400, first_day(y, m - 1) * 86400, first_day(y, m + 2) * 86400
  end
  local length = ({60, 3600, 86400})[period]
  local start = sec - sec % length
  return start, start + length, start - length, start + 2 * length
end

local function read_rate(key, a)
  local per_unit = a.size.per / a.size.requests
  return {
    tat = tonumber(redis.call('GET', key) or '0'), per_unit = per_unit,
    window = per_unit * a.size.burst, noise = min(0.5, per_unit / 2),
  }
end

local function ask_rate(s, a, cost)
  local from = max(s.tat, now)
  local nxt = from + s.per_unit * cost
  local early = nxt - s.window - now
  local allowed = early <= s.noise
  local at = allowed and nxt or from
  local left = floor((s.window - (at - now) + s.noise) / s.per_unit)
  local retry = 0
  if not allowed then retry = cost > a.size.burst and -1 or max(ceil(early), 1) end
  return allowed, nxt, {allowed and 1 or 0, min(max(left, 0), a.size.burst), retry, ceil(at - now)}
end

local function keep_rate(key, s, nxt)
  redis.call('SET', key, string.format('%.3f', nxt), 'PX', max(ceil((nxt - now) / 1000), 1))
end

local function read_quota(key, a)
  local start, stop, last, after = windows(a.size.period)
  local s = {start = start, stop = stop, after = after, current = 0, before = 0}
  local kept = redis.call('GET', key)
  if kept then
    local at, current, before = string.match(kept, '^(%d+):(%d+):(%d+)$')
    at = tonumber(at)
    if at == start then
      s.current, s.before = tonumber(current), tonumber(before)
    elseif at == last then
      s.before = tonumber(current)
    end
  end
  return s
end

local function ask_quota(s, a, cost)
  local left = s.stop - sec - usec / 1000000 -- seconds of this window
  local length = s.stop - s.start
  local used = s.current
  if a.size.rolling then used = used + floor(s.before * left / length) end
  local allowed = used + cost <= a.size.limit
  local retry = 0
  if not allowed then
    if cost > a.size.limit then
      retry = -1
    elseif not a.size.rolling or s.before == 0 or s.current + cost > a.size.limit then
      retry = max(ceil(left * 1000000), 1)
    else
      local fits = (a.size.limit - s.current - cost) / s.before
      retry = ceil(min(max(left - fits * length, 0.001), left) * 1000000)
    end
  end
  local remaining = max(a.size.limit - used - (allowed and cost or 0), 0)
  return allowed, s.current + cost, {allowed and 1 or 0, remaining, retry, ceil(left * 1000000)}
end

local function keep_quota(key, s, current, a)
  local stop = a.size.rolling and s.after or s.stop
  redis.call('SET', key, string.format('%d:%d:%d', s.start, current, s.before), 'PX', max(ceil((stop - sec) * 1000 - usec / 1000), 1))
end

local function ask_of(i)
  local at = 2 + (i - 1) * 6
  local a = {kind = ARGV[at], cost = tonumber(ARGV[at + 4]), shadow = ARGV[at + 5] == '1'}
  local x, y, z = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  if a.kind == 'rate' then
    a.size = {requests = x, per = y, burst = z}
    a.read, a.ask, a.keep = read_rate, ask_rate, keep_rate
  else
    a.size = {limit = x, period = y, rolling = z == 1}
    a.read, a.ask, a.keep = read_quota, ask_quota, keep_quota
  end
  return a
end

local asks, states, nexts, out = {}, {}, {}, {}
local take = true
for i, key in ipairs(KEYS) do
  local a = ask_of(i)
  asks[i], states[i] = a, a.read(key, a)
  if ARGV[1] == 'back' then a.cost = -a.cost end
  local allowed, nxt, answer = a.ask(states[i], a, a.cost)
  nexts[i] = allowed and nxt
  out[i] = answer
  if not allowed and not a.shadow then take = false end
end
local flat = {}
for i, key in ipairs(KEYS) do
  local a = asks[i]
  if ARGV[1] == 'back' then
    if a.kind == 'rate' and states[i].tat > now then
      keep_rate(key, states[i], states[i].tat + states[i].per_unit * a.cost)
    elseif a.kind == 'quota' and states[i].current > 0 then
      keep_quota(key, states[i], max(states[i].current + a.cost, 0), a)
    end
  elseif nexts[i] and take then
    if a.cost > 0 then a.keep(key, states[i], nexts[i], a) end
  elseif nexts[i] then -- another one refused: nothing was taken
    local _, _, answer = a.ask(states[i], a, 0)
    out[i] = answer
  end
  for j = 1, 4 do flat[#flat + 1] = out[i][j] end
end
return flat
