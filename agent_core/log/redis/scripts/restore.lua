-- Make room for events that the store has lost; the append that follows writes them.
-- KEYS: meta, log, open runs, the core's runs, request, session's live run, session's runs
-- ARGV: run id, epoch, number of the first event, TTL while open (ms), request key, session, place in the session,
--   how many events `refill.lua` has put into the log already, their bytes, meta's fields…
local meta = redis.call('HMGET', KEYS[1], 'e', 'n', 'out')
local refilled = tonumber(ARGV[8])
local before = string.format('%.0f', tonumber(ARGV[3]) - 1)
local last = string.format('%.0f', tonumber(ARGV[3]) - 1 + refilled)
-- Of what was put there, the end goes first where Redis loses anything.
if refilled > 0 and #redis.call('XRANGE', KEYS[2], last .. '-0', last .. '-0') == 0 then return end
if meta[1] then
  -- Another's, ended, or whole up to these events: what is there stays.
  if meta[1] ~= ARGV[2] or meta[3] ~= '' or tonumber(meta[2]) >= tonumber(before) then return end
else
  for field = 10, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[field], ARGV[field + 1]) end
  redis.call('SADD', KEYS[3], ARGV[1])
  redis.call('SADD', KEYS[4], ARGV[1])
  if ARGV[5] ~= '' then redis.call('SET', KEYS[5], ARGV[1], 'PX', ARGV[4], 'NX') end
  if ARGV[6] ~= '' then
    redis.call('SET', KEYS[6], ARGV[1], 'PX', ARGV[4], 'NX')
    redis.call('ZADD', KEYS[7], 0, ARGV[7])
    redis.call('PEXPIRE', KEYS[7], ARGV[4])
  end
end
if refilled == 0 then redis.call('DEL', KEYS[2]) end
redis.call('HSET', KEYS[1], 'n', last, 'f', ARGV[3], 'le', '1', 'bytes', ARGV[9])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
