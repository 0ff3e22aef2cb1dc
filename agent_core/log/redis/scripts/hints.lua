-- The message to other cores about an append. Stands before the scripts that append.
-- A hint carries the events that it speaks of, up to so many bytes: what is larger is read from the log.
local HINT_BYTES = 65536

-- Return a hint as `decode_hint` reads it.
local function hint_of(flags, epoch, first, events)
  local size = 0
  for _, event in ipairs(events) do size = size + #event end
  local parts = {struct.pack('<BI4I8', flags, epoch, first)}
  if size <= HINT_BYTES then
    for _, event in ipairs(events) do
      parts[#parts + 1] = struct.pack('<I4', #event)
      parts[#parts + 1] = event
    end
  end
  return table.concat(parts)
end

