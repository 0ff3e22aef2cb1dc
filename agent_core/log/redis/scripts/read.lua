-- Return events after a number, one at least, with what the log is at this moment.
-- KEYS: meta, log
-- ARGV: number, most events, most bytes, 1 where the reader has subscribed to the run's channel
-- Answers {epoch, outcome, expire, last number, its epoch, {id, event, epoch or '', …}} or nothing.
local meta = redis.call('HMGET', KEYS[1], 'e', 'out', 'expire', 'n', 'le')
if not meta[1] then return false end
if ARGV[4] == '1' and meta[2] == '' then
  -- From now on appends are published; earlier ones are read here. If there is no memory for the mark, the reader
  -- finds new events when it looks.
  local marked = redis.pcall('HSET', KEYS[1], 'followed', '1')
  if type(marked) == 'table' and marked.err and not string.find(marked.err, '^%-?OOM') then return marked end
end
local found, count, bytes = {}, 0, 0
local most, most_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
local start = string.format('(%.0f-0', tonumber(ARGV[1]))
local full = tonumber(ARGV[1]) >= tonumber(meta[4])
while not full do
  local entries = redis.call('XRANGE', KEYS[2], start, '+', 'COUNT', math.min(64, most - count))
  full = #entries == 0
  for _, entry in ipairs(entries) do
    bytes = bytes + #entry[2][2]
    if count > 0 and bytes > most_bytes then full = true break end
    count = count + 1
    found[#found + 1] = entry[1]
    found[#found + 1] = entry[2][2]
    found[#found + 1] = entry[2][4] or ''
    start = '(' .. entry[1]
    if count == most then full = true break end
  end
end
return {meta[1], meta[2], meta[3], meta[4], meta[5], found}
