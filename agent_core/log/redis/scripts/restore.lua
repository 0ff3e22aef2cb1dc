-- Make room for events that the store has lost; the append that follows writes them.
-- KEYS: meta, log, open runs, the core's runs, request, session's live run, session's runs
-- ARGV: run id, epoch, number of the first event, TTL while open (ms), request key, session,
--   place in the session, meta's fields…
local meta = redis.call('HMGET', KEYS[1], 'e', 'n', 'out')
local before = string.format('%.0f', tonumber(ARGV[3]) - 1)
if meta[1] then
  -- Another's, ended, or whole up to these events: what is there stays.
  if meta[1] ~= ARGV[2] or meta[3] ~= '' or tonumber(meta[2]) >= tonumber(before) then return end
else
  for field = 8, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[field], ARGV[field + 1]) end
  redis.call('SADD', KEYS[3], ARGV[1])
  redis.call('SADD', KEYS[4], ARGV[1])
  if ARGV[5] ~= '' then redis.call('SET', KEYS[5], ARGV[1], 'PX', ARGV[4], 'NX') end
  if ARGV[6] ~= '' then
    redis.call('SET', KEYS[6], ARGV[1], 'PX', ARGV[4], 'NX')
    redis.call('ZADD', KEYS[7], 0, ARGV[7])
    redis.call('PEXPIRE', KEYS[7], ARGV[4])
  end
end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'n', before, 'f', ARGV[3], 'le', '1', 'bytes', '0')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
