-- Renew a core's lease, and return what it has to know.
-- KEYS: lease, cores, inbox
-- ARGV: core, its process, TTL (ms), key prefix, id of the last word that it has heard
-- Answers {1 where the lease still stood, {id, {'w', word}} of each word since, {core, process, 1 where its lease stands, …},
--   Redis's words where there is no memory for anything new, or ''}.
-- First, for a script that has written goes on where there is no memory.
local said = redis.pcall('HSET', KEYS[2], ARGV[1], ARGV[2])
local full = type(said) == 'table' and said.err or ''
if full ~= '' and not string.find(full, '^%-?OOM') then return said end
local stood = redis.call('PEXPIRE', KEYS[1], ARGV[3])
if stood == 0 then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
-- A word goes when it was heard, not when it was fetched: the answer may be lost.
redis.call('XTRIM', KEYS[3], 'MINID', ARGV[5])
redis.call('XDEL', KEYS[3], ARGV[5])
local words = redis.call('XRANGE', KEYS[3], '(' .. ARGV[5], '+')
local cores = redis.call('HGETALL', KEYS[2])
local peers = {}
for index = 1, #cores, 2 do
  if cores[index] ~= ARGV[1] then
    peers[#peers + 1] = cores[index]
    peers[#peers + 1] = cores[index + 1]
    peers[#peers + 1] = redis.call('EXISTS', ARGV[4] .. ':core:' .. cores[index])
  end
end
return {stood, words, peers, full}
