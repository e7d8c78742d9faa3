-- Renews the lease of one call. A place that was lost, as when the server
-- forgot everything, is taken again.
-- KEYS: the set. ARGV: the call's id, milliseconds that a lease lasts.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], 2 * tonumber(ARGV[2]))
return 1
