-- Append events to the logs of many runs, each for itself: what is refused of one run leaves the others alone.
-- KEYS: for each run: meta, log, and where owners have shares, what the run's owner holds
-- ARGV: limits (packed), key prefix, then for each run, packed: epoch, number of the first event, flags (1: renew
--   the keys' time to live, 2: publish the events), how many events, and each event with its length before it
-- Answers {place, status, number} of each run whose events were not all accepted: 'FENCED', 'GAP' with the number that
-- is wanted, 'CLOSED', 'GONE', or 'ERROR' with Redis's words in the place of the number.
local RUN_HEAD = '<I4I8BI4'
local most_events, most_bytes, keep_events, keep_bytes, open_ttl, share, step, owner_ttl =
  struct.unpack('<I8I8I8I8I8I8I8I8', ARGV[1])
local keys_of_run = share > 0 and 3 or 2

-- Count what a run has grown by, where it has passed a step, and make room where its owner holds too much then.
local function count_share(owner, meta_key, before, size)
  if before > 0 and charge(before, step) == charge(size, step) then return end
  local message = redis.call('HSTRLEN', meta_key, 'message')
  local run_id = string.match(meta_key, '{([^{}]*)}:meta$')
  local held = count(owner, run_id, 'L', RUN_BYTES + message + charge(size, step), message)
  if held > share then make_room(owner, ARGV[2], share, run_id) end
  redis.call('PEXPIRE', owner, owner_ttl)
end

local function append(place, packed)
  local meta_key, log_key = KEYS[place], KEYS[place + 1]
  local epoch, first, flags, given, at = struct.unpack(RUN_HEAD, packed)
  local meta = redis.call('HMGET', meta_key, 'e', 'n', 'out', 'f', 'bytes', 'followed')
  if not meta[1] then return 'GONE' end
  if tonumber(meta[1]) ~= epoch then return 'FENCED' end
  local last = tonumber(meta[2])
  if first > last + 1 then return 'GAP', last + 1 end
  local known = last + 1 - first
  if known >= given then return end
  if meta[3] ~= '' then return 'CLOSED' end
  local before, fresh = tonumber(meta[5]), {}
  local size = before
  for index = 0, given - 1 do
    local event
    event, at = struct.unpack('<I4c0', packed, at)
    if index >= known then
      if epoch == 1 then
        redis.call('XADD', log_key, (first + index) .. '-0', 'v', event)
      else
        redis.call('XADD', log_key, (first + index) .. '-0', 'v', event, 'e', epoch)
      end
      size = size + #event
      fresh[#fresh + 1] = event
    end
  end
  local from
  last, from = first + given - 1, tonumber(meta[4])
  if last - from + 1 > most_events or size > most_bytes then
    -- The ring: the oldest go, the newest one always stays.
    from, size = cut(log_key, from, last, size, math.max(1, keep_events), keep_bytes)
    redis.call('HSET', meta_key, 'n', last, 'bytes', size, 'f', from)
  else
    redis.call('HSET', meta_key, 'n', last, 'bytes', size)
  end
  if epoch ~= 1 then redis.call('HSET', meta_key, 'le', epoch) end
  if flags % 2 == 1 then
    redis.call('PEXPIRE', meta_key, open_ttl)
    redis.call('PEXPIRE', log_key, open_ttl)
  end
  if meta[6] or flags >= 2 then
    -- A reader at another core sets the mark after it has subscribed and before it reads: without subscribers it is stale.
    local channel = string.sub(meta_key, 1, -#'meta' - 1) .. 'channel'
    local hint = hint_of(0, epoch, first + known, fresh)
    if redis.call('PUBLISH', channel, hint) == 0 and meta[6] then redis.call('HDEL', meta_key, 'followed') end
  end
  if share > 0 then count_share(KEYS[place + 2], meta_key, before, size) end
end

local refused = {}
for index = 3, #ARGV do
  local run = index - 2
  local well, status, number = pcall(append, (run - 1) * keys_of_run + 1, ARGV[index])
  if not well then
    refused[#refused + 1] = {run, 'ERROR', type(status) == 'table' and status.err or tostring(status)}
  elseif status then
    refused[#refused + 1] = {run, status, number or 0}
  end
end
return refused
