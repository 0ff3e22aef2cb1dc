-- Renew a core's lease, and return what it has to know.
-- KEYS: lease, cores, inbox
-- ARGV: core, its process, TTL (ms), key prefix
-- Answers {1 where the lease still stood, words for this core, {core, process, 1 where its lease stands, …}}.
local stood = redis.call('PEXPIRE', KEYS[1], ARGV[3])
if stood == 0 then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local words = redis.call('LRANGE', KEYS[3], 0, -1)
redis.call('DEL', KEYS[3])
local cores = redis.call('HGETALL', KEYS[2])
local peers = {}
for index = 1, #cores, 2 do
  if cores[index] ~= ARGV[1] then
    peers[#peers + 1] = cores[index]
    peers[#peers + 1] = cores[index + 1]
    peers[#peers + 1] = redis.call('EXISTS', ARGV[4] .. ':core:' .. cores[index])
  end
end
return {stood, words, peers}
