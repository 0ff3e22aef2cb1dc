-- Leave a word for a core that holds its lease, and wake it.
-- KEYS: lease, inbox
-- ARGV: word, channel, how long an unread word is kept (ms)
-- Answers 1 where there is such a core.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PUBLISH', ARGV[2], '')
return 1
