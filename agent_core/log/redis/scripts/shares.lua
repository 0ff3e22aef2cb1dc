-- What is kept for each owner, and what goes where that is too much. Stands before the scripts that count.
-- An owner's hash has a field for each run (`L BYTES MESSAGE` while it goes on, `E BYTES TURN` after its end) and for
-- each session that remembers something (`s:` and its id: `S BYTES TURN`). A turn says what came before what; MESSAGE
-- is how many of the BYTES are the user's message, which can't be shortened.
-- `@held` and `@said` are the sums of all and of sessions, `@live` counts the runs that go on, `@asked` is the sum of
-- what their messages need beside the shortest rings, `@looked` says how many fields there were at the last look.
local RUN_BYTES, SESSION_BYTES = 2048, 512
local MESSAGE_IN_FLOOR = 16384
local MORE_FIELDS = 256
local GONE = '\2' .. string.rep('\0', 12)

-- Return what the events of a run that goes on count, rounded up so that few appends change it.
local function charge(size, step)
  return math.ceil(size / step) * step
end

-- Return what a message needs beside the shortest ring.
local function beyond(message)
  return math.max(0, message - MESSAGE_IN_FLOOR)
end

-- Set what a run or session counts (nil: nothing any more), and return what its owner holds now.
-- `message` is told of a run that goes on alone.
local function count(owner, field, kind, bytes, message)
  local before = redis.call('HGET', owner, field)
  local difference = -tonumber(before and string.match(before, '%d+') or 0)
  local asked = (kind == 'L' and beyond(message) or 0)
    - beyond(tonumber(before and string.match(before, '^L %d+ (%d+)$') or 0))
  if asked ~= 0 then redis.call('HINCRBY', owner, '@asked', string.format('%.0f', asked)) end
  if kind then
    difference = difference + bytes
    local entry = kind .. ' ' .. string.format('%.0f', bytes)
    if kind == 'L' then
      entry = entry .. ' ' .. string.format('%.0f', message)
    else
      entry = entry .. ' ' .. redis.call('HINCRBY', owner, '@turn', 1)
    end
    redis.call('HSET', owner, field, entry)
  elseif before then
    redis.call('HDEL', owner, field)
  end
  local was_live = before ~= false and string.sub(before, 1, 1) == 'L'
  if was_live ~= (kind == 'L') then redis.call('HINCRBY', owner, '@live', was_live and -1 or 1) end
  if difference == 0 then return tonumber(redis.call('HGET', owner, '@held') or 0) end
  if string.sub(field, 1, 2) == 's:' then
    redis.call('HINCRBY', owner, '@said', string.format('%.0f', difference))
  end
  return redis.call('HINCRBY', owner, '@held', string.format('%.0f', difference))
end

-- Cut a log down, the newest event always stays. Return its first number and its bytes then.
local function cut(log, from, last, size, most, bytes)
  while from < last and (last - from + 1 > most or size > bytes) do
    local start = string.format('%.0f-0', from)
    local entries = redis.call('XRANGE', log, start, '+', 'COUNT', 64)
    if #entries == 0 then break end
    for _, entry in ipairs(entries) do
      if from < last and (last - from + 1 > most or size > bytes) then
        size = size - #entry[2][2]
        from = from + 1
      end
    end
  end
  redis.call('XTRIM', log, 'MINID', string.format('%.0f-0', from))
  return from, size
end

-- Forget an ended run, and tell those who read it.
local function forget(prefix, owner, run_id)
  local run = prefix .. ':{' .. run_id .. '}'
  local meta = redis.call('HMGET', run .. ':meta', 'request', 'session', 'create')
  redis.call('DEL', run .. ':meta', run .. ':log')
  local request = prefix .. ':request:' .. meta[1]
  if redis.call('GET', request) == run_id then redis.call('DEL', request) end
  local place = string.rep('0', 20 - #meta[3]) .. meta[3] .. ' ' .. run_id
  redis.call('ZREM', prefix .. ':session:' .. owner .. '\n' .. meta[2] .. ':runs', place)
  redis.call('PUBLISH', run .. ':channel', GONE)
end

-- Look at all that an owner holds, and give up what is too much: ended runs, then what sessions remember, the
-- oldest first, then the oldest events of the largest runs. It goes a sixteenth below, for a look costs as much
-- for one as for many. What was lost or has expired is found here, and the sums are made anew.
local function make_room(owner_key, prefix, most, spared)
  local owner = string.sub(owner_key, #prefix + #':owner:' + 1)
  local kinds, held, said, asked, fields = {L = {}, E = {}, S = {}}, 0, 0, 0, 0
  local all = redis.call('HGETALL', owner_key)
  for index = 1, #all, 2 do
    local field, kind, bytes, turn = all[index], string.match(all[index + 1], '^(%u) (%d+) ?(%d*)$')
    if kind then
      local key = prefix .. ':{' .. field .. '}:meta'
      if kind == 'S' then key = prefix .. ':session:' .. owner .. '\n' .. string.sub(field, 3) .. ':said' end
      if redis.call('EXISTS', key) == 0 then
        redis.call('HDEL', owner_key, field)
      else
        bytes, fields, held = tonumber(bytes), fields + 1, held + tonumber(bytes)
        if kind == 'S' then said = said + bytes end
        -- Of a run that goes on, it is the message instead; programs before this one left it out.
        turn = tonumber(turn) or 0
        if kind == 'L' then asked = asked + beyond(turn) end
        table.insert(kinds[kind], {field = field, key = key, bytes = bytes, turn = turn})
      end
    end
  end
  local function by_turn(one, other) return one.turn < other.turn end
  local target = held > most and most - math.floor(most / 16) or most
  table.sort(kinds.E, by_turn)
  for _, run in ipairs(kinds.E) do
    if held <= target then break end
    if run.field ~= spared then
      forget(prefix, owner, run.field)
      redis.call('HDEL', owner_key, run.field)
      held, fields = held - run.bytes, fields - 1
    end
  end
  table.sort(kinds.S, by_turn)
  local most_said = math.floor(most / 4)
  for _, session in ipairs(kinds.S) do
    if held <= target and said <= most_said then break end
    redis.call('DEL', session.key)
    redis.call('HDEL', owner_key, session.field)
    held, said, fields = held - session.bytes, said - session.bytes, fields - 1
  end
  if held > target then
    -- The level that the largest are cut down to.
    local live = kinds.L
    table.sort(live, function(one, other) return one.bytes > other.bytes end)
    local excess, sum, level = held - target, 0, 0
    for index, run in ipairs(live) do
      sum = sum + run.bytes
      local below = live[index + 1] and live[index + 1].bytes or 0
      if sum - index * below >= excess then
        level = math.floor((sum - excess) / index)
        break
      end
    end
    for _, run in ipairs(live) do
      if run.bytes <= level then break end
      local log = prefix .. ':{' .. run.field .. '}:log'
      local meta = redis.call('HMGET', run.key, 'f', 'n', 'bytes')
      local from, size = cut(log, tonumber(meta[1]), tonumber(meta[2]), tonumber(meta[3]), math.huge,
        math.max(0, level - RUN_BYTES - run.turn))
      redis.call('HSET', run.key, 'f', string.format('%.0f', from), 'bytes', string.format('%.0f', size))
      local bytes = RUN_BYTES + run.turn + size
      redis.call('HSET', owner_key, run.field, string.format('L %.0f %.0f', bytes, run.turn))
      held = held - run.bytes + bytes
    end
  end
  redis.call('HSET', owner_key, '@held', string.format('%.0f', held), '@said', string.format('%.0f', said),
    '@live', #kinds.L, '@asked', string.format('%.0f', asked), '@looked', fields)
end
