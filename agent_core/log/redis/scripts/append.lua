-- Append events to a run's log, and close it where this is its end. A repetition changes nothing.
-- KEYS: meta, log, open runs, the core's runs, request, session's live run, session's exchanges, the core's lease,
--   session's runs, what the run's owner holds
-- ARGV: run id, epoch, number of the first event, channel, flags of the hint, TTL while open (ms),
--   limits: events, bytes, and what to cut down to: events, bytes,
--   end: outcome ('' to go on), reason, end, expire, TTL then (ms),
--   session: exchange ('' for none), its bytes, most exchanges, most bytes, its expiry, TTL (ms),
--   the events' epoch (a reaper's is the next one), last number that a reaper expects ('' for a writer),
--   1 where a reaper must not find the core's lease,
--   owner: share (0 for none), step in which it is counted, TTL of what she holds (ms), key prefix, events…
-- Answers {'OK'}, {'FENCED'}, {'GAP', number}, {'CLOSED'}, {'GONE'} or {'MOVED'}.
local FIRST_EVENT = 29
local meta = redis.call('HMGET', KEYS[1], 'e', 'n', 'out', 'f', 'bytes')
if not meta[1] then return {'GONE'} end
if meta[1] ~= ARGV[2] then return {'FENCED'} end
local last, open = tonumber(meta[2]), meta[3] == ''
local first, given = tonumber(ARGV[3]), #ARGV - FIRST_EVENT + 1
if ARGV[23] ~= '' then
  if not open then return {'CLOSED'} end
  if ARGV[24] == '1' and redis.call('EXISTS', KEYS[8]) == 1 then return {'FENCED'} end
  if last ~= tonumber(ARGV[23]) then return {'MOVED'} end
end
if first > last + 1 then return {'GAP', last + 1} end
local known = last + 1 - first
if open and ARGV[11] ~= '' then
  -- A script that has written goes on where there is no memory: a run's end is small, and readers wait for it.
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
local before = tonumber(meta[5])
local size = before
if known < given then
  if not open then return {'CLOSED'} end
  for index = known, given - 1 do
    local event = ARGV[FIRST_EVENT + index]
    local id = string.format('%.0f-0', first + index)
    if ARGV[22] == '1' then
      redis.call('XADD', KEYS[2], id, 'v', event)
    else
      redis.call('XADD', KEYS[2], id, 'v', event, 'e', ARGV[22])
    end
    size = size + #event
  end
  last = first + given - 1
  local from = tonumber(meta[4])
  if last - from + 1 > tonumber(ARGV[7]) or size > tonumber(ARGV[8]) then
    -- The ring: the oldest go, the newest one always stays.
    from, size = cut(KEYS[2], from, last, size, math.max(1, tonumber(ARGV[9])), tonumber(ARGV[10]))
  end
  redis.call('HSET', KEYS[1], 'n', string.format('%.0f', last), 'le', ARGV[22], 'e', ARGV[22],
    'f', string.format('%.0f', from), 'bytes', string.format('%.0f', size))
end
local ends, said = open and ARGV[11] ~= '', nil
if ends then
  redis.call('HSET', KEYS[1], 'out', ARGV[11], 'why', ARGV[12], 'end', ARGV[13], 'expire', ARGV[14])
  redis.call('PEXPIRE', KEYS[1], ARGV[15])
  redis.call('PEXPIRE', KEYS[2], ARGV[15])
  if redis.call('GET', KEYS[5]) == ARGV[1] then redis.call('PEXPIRE', KEYS[5], ARGV[15]) end
  redis.call('SREM', KEYS[3], ARGV[1])
  redis.call('SREM', KEYS[4], ARGV[1])
  if redis.call('GET', KEYS[6]) == ARGV[1] then redis.call('DEL', KEYS[6]) end
  -- With no run of the session open, its list is needed no longer than the last of them.
  if redis.call('EXISTS', KEYS[6]) == 0 then redis.call('PEXPIRE', KEYS[9], ARGV[15]) end
  if ARGV[16] ~= '' then
    -- Each: its expiry and its bytes, a line break, the exchange.
    local newest = redis.call('LINDEX', KEYS[7], -1)
    if newest and tonumber(string.match(newest, '^(%d+)')) <= tonumber(ARGV[13]) then
      redis.call('DEL', KEYS[7])
    end
    redis.call('RPUSH', KEYS[7], ARGV[20] .. ' ' .. ARGV[17] .. '\n' .. ARGV[16])
    redis.call('LTRIM', KEYS[7], -tonumber(ARGV[18]), -1)
    local total = 0
    for _, kept in ipairs(redis.call('LRANGE', KEYS[7], 0, -1)) do
      total = total + tonumber(string.match(kept, '^%d+ (%d+)'))
    end
    while total > tonumber(ARGV[19]) do
      total = total - tonumber(string.match(redis.call('LPOP', KEYS[7]), '^%d+ (%d+)'))
    end
    redis.call('PEXPIRE', KEYS[7], ARGV[21])
    said = total
  end
elseif open then
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
end
local most, step = tonumber(ARGV[25]), tonumber(ARGV[26])
if open and most > 0 and (ends or before == 0 or charge(before, step) ~= charge(size, step)) then
  local message = redis.call('HSTRLEN', KEYS[1], 'message')
  local bytes = RUN_BYTES + message + (ends and size or charge(size, step))
  local held = count(KEYS[10], ARGV[1], ends and 'E' or 'L', bytes, message)
  if said then
    local session = string.match(KEYS[7], '^.-\n(.*):said$')
    held = count(KEYS[10], 's:' .. session, 'S', SESSION_BYTES + said)
    if tonumber(redis.call('HGET', KEYS[10], '@said')) > most / 4 then held = math.huge end
  end
  if held > most then make_room(KEYS[10], ARGV[28], most, ARGV[1]) end
  redis.call('PEXPIRE', KEYS[10], ARGV[27])
end
if open and (known < given or ARGV[11] ~= '') then
  local events = {}
  for index = FIRST_EVENT, #ARGV do events[#events + 1] = ARGV[index] end
  redis.call('PUBLISH', ARGV[4], hint_of(tonumber(ARGV[5]), tonumber(ARGV[22]), first, events))
end
return {'OK'}
