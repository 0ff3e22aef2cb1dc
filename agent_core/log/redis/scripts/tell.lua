-- Leave a word for a core, and wake it. One whose lease has run out may come back and renew it.
-- KEYS: lease, inbox
-- ARGV: word, channel, how long an unread word is kept (ms)
-- Answers 1 where it holds its lease.
redis.call('XADD', KEYS[2], '*', 'w', ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PUBLISH', ARGV[2], '')
return redis.call('EXISTS', KEYS[1])
