-- Give a core's lease back, and leave nothing of it behind unless it has left open runs for others to close.
-- KEYS: lease, cores, inbox, the core's runs
-- ARGV: core
redis.call('DEL', KEYS[1])
if redis.call('SCARD', KEYS[4]) == 0 then
  redis.call('HDEL', KEYS[2], ARGV[1])
  redis.call('DEL', KEYS[3])
end
