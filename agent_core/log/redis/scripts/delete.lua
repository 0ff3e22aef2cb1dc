-- Forget a run.
-- KEYS: meta, log, open runs, the core's runs, request, session's live run, session's runs, what its owner holds
-- ARGV: run id, place in the session, channel, hint
if redis.call('DEL', KEYS[1]) == 0 then return end
redis.call('DEL', KEYS[2])
redis.call('SREM', KEYS[3], ARGV[1])
redis.call('SREM', KEYS[4], ARGV[1])
if redis.call('GET', KEYS[5]) == ARGV[1] then redis.call('DEL', KEYS[5]) end
if redis.call('GET', KEYS[6]) == ARGV[1] then redis.call('DEL', KEYS[6]) end
redis.call('ZREM', KEYS[7], ARGV[2])
count(KEYS[8], ARGV[1])
redis.call('PUBLISH', ARGV[3], ARGV[4])
