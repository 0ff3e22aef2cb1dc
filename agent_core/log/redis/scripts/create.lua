-- Create a run, unless another one stands for its request, or keeps its session, or its owner has no room.
-- KEYS: meta, log, open runs, the core's runs, request, session's live run, session's runs, what its owner holds
-- ARGV: run id, now, key prefix, TTL while open (ms), request key, session, place in the session,
--   the owner's share ('0' for none), the shortest ring, TTL of what she holds (ms), the message's bytes,
--   meta's fields…
-- Answers {'OK'}, {'STANDS', run id}, {'BUSY', run id} or {'FULL'}.
local function known(run_id)
  local meta = redis.call('HMGET', ARGV[3] .. ':{' .. run_id .. '}:meta', 'e', 'out', 'expire')
  if not meta[1] then return false end
  if meta[2] ~= '' and tonumber(meta[3]) <= tonumber(ARGV[2]) then return false end
  return meta
end

if known(ARGV[1]) then return {'STANDS', ARGV[1]} end
if ARGV[5] ~= '' then
  local earlier = redis.call('GET', KEYS[5])
  if earlier and known(earlier) then return {'STANDS', earlier} end
end
if ARGV[6] ~= '' then
  local live = redis.call('GET', KEYS[6])
  if live then
    local meta = known(live)
    if meta and meta[2] == '' then return {'BUSY', live} end
  end
end

local most, least, message = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[11])
-- Whether the shortest rings of the runs that go on, and long messages, leave no room for this one's.
local function is_full(live, asked)
  return (tonumber(live or 0) + 1) * least + tonumber(asked or 0) + beyond(message) > most
end
if most > 0 then
  local sums = redis.call('HMGET', KEYS[8], '@live', '@asked', '@looked')
  local full = is_full(sums[1], sums[2])
  if full or redis.call('HLEN', KEYS[8]) > MORE_FIELDS + 2 * tonumber(sums[3] or 0) then
    make_room(KEYS[8], ARGV[3], most)
    full = is_full(unpack(redis.call('HMGET', KEYS[8], '@live', '@asked')))
  end
  if full then return {'FULL'} end
end

-- First what needs memory, so that nothing was written where there is none; it sets each field of what was there.
for field = 12, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[field], ARGV[field + 1]) end
redis.call('DEL', KEYS[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('SADD', KEYS[4], ARGV[1])
if ARGV[5] ~= '' then redis.call('SET', KEYS[5], ARGV[1], 'PX', ARGV[4]) end
if ARGV[6] ~= '' then
  redis.call('SET', KEYS[6], ARGV[1], 'PX', ARGV[4])
  -- Those that were forgotten leave the list a few at a time.
  for _, member in ipairs(redis.call('ZRANGE', KEYS[7], 0, 3)) do
    if not known(string.match(member, '%S+$')) then redis.call('ZREM', KEYS[7], member) end
  end
  redis.call('ZADD', KEYS[7], 0, ARGV[7])
  redis.call('PEXPIRE', KEYS[7], ARGV[4])
end
if most > 0 then
  count(KEYS[8], ARGV[1], 'L', RUN_BYTES + message, message)
  redis.call('PEXPIRE', KEYS[8], ARGV[10])
end
return {'OK'}
