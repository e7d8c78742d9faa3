-- Takes a place for one call in each of several sets, or in none.
-- KEYS: one a set. ARGV: the call's id, milliseconds that a lease lasts, then
-- two a set: limit, shadow. Returns an integer a set: 1 where it is full.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local lease = tonumber(ARGV[2])
local full, refused = {}, false
for i, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  full[i] = redis.call('ZCARD', key) >= tonumber(ARGV[1 + 2 * i]) and 1 or 0
  if full[i] == 1 and ARGV[2 + 2 * i] ~= '1' then refused = true end
end
if not refused then
  for i, key in ipairs(KEYS) do
    if full[i] == 0 then
      redis.call('ZADD', key, now + lease, ARGV[1])
      redis.call('PEXPIRE', key, 2 * lease)
    end
  end
end
return full
