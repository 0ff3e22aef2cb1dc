-- Forget a lost core, unless it is back or has an open run: nobody would find that one again.
-- KEYS: lease, cores, inbox, the core's runs, open runs
-- ARGV: core, key prefix
-- Answers 1 where it is forgotten.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
for _, run_id in ipairs(redis.call('SMEMBERS', KEYS[4])) do
  if redis.call('HGET', ARGV[2] .. ':{' .. run_id .. '}:meta', 'out') == '' then return 0 end
  -- It has expired without an end.
  redis.call('SREM', KEYS[4], run_id)
  redis.call('SREM', KEYS[5], run_id)
end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[3])
return 1
