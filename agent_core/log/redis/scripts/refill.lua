-- Put events that the store has lost into a run's stream, before its hash says that they are there: what is lost of a
-- long run would keep Redis busy for too long at once. `restore.lua` makes an end of it.
-- KEYS: meta, log
-- ARGV: epoch, number of the first of all lost events, number of the first one here, TTL until the end (ms), events…
-- Answers 1, 0 where nothing is lost (the run is another's, has ended, or reaches up to the lost events), or -1 where
-- what was put there before these is missing again.
local meta = redis.call('HMGET', KEYS[1], 'e', 'n', 'out')
local all, first = tonumber(ARGV[2]), tonumber(ARGV[3])
if meta[1] and (meta[1] ~= ARGV[1] or meta[3] ~= '' or tonumber(meta[2]) >= all - 1) then return 0 end
if first == all then
  redis.call('DEL', KEYS[2])
else
  local before = string.format('%.0f-0', first - 1)
  if #redis.call('XRANGE', KEYS[2], before, before) == 0 then return -1 end
end
for index = 5, #ARGV do
  local id = string.format('%.0f-0', first + index - 5)
  if ARGV[1] == '1' then
    redis.call('XADD', KEYS[2], id, 'v', ARGV[index])
  else
    redis.call('XADD', KEYS[2], id, 'v', ARGV[index], 'e', ARGV[1])
  end
end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
