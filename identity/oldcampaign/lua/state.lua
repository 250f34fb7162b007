-- Reads all that there is to know about the campaign in Redis at one moment.
--
-- KEYS: campaign, arrivals
-- Answers {run id of the server, milliseconds, number of arrivals, hash as a flat list}.
return {server_run_id(), now_ms(), redis.call('ZCARD', KEYS[2]), redis.call('HGETALL', KEYS[1])}
