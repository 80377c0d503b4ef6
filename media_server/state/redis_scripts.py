"""What the Redis state does in one step: Lua scripts, each atomic on the server.

The first key of every script is the prefix, in braces: all keys of a script lie in one slot of a cluster.
Below it lie

    job:<id>             a hash: place, track_id, status, updated_at and body
    jobs                 the places of all jobs, read from the newest
    jobs:status:<s>      the places of the jobs in one state
    jobs:track:<id>      the places of the jobs of one track
    jobs:updated         time of the last write, a space, place
    jobs:written         job ids by their revision
    track:<id>, tracks   place and body of a track; the places of all tracks
    lease:<name>         the fencing number of who holds it, gone when its time is over
    counter:<name>       the last number of a name
    revision, fence      the last ones given out

A place is `<created_at> <id>`. Places have the score 0 in their sorted sets, which orders them byte by byte,
as a cursor needs it.

Revisions and fencing numbers are microseconds of the server's clock, or one more than the last if that is
greater. So they go on rising where the last one is lost: when the server is emptied, starts without its
file, or a replica that lags behind takes over.
"""

_CLOCK = """
local P = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function whole(number) return string.format('%.0f', number) end
local function next_of(name)
    local number = whole(math.max(now, 1 + (redis.call('GET', P .. name) or 0)))
    redis.call('SET', P .. name, number)
    return number
end
"""

SAVE_JOB = (
    _CLOCK
    + """
local id, track_id, status, created_at, updated_at, body, keep_us, at_once, ended_at = unpack(ARGV)

local function forget(id)
    local place, track_id, status, updated_at =
        unpack(redis.call('HMGET', P .. 'job:' .. id, 'place', 'track_id', 'status', 'updated_at'))
    if place then
        redis.call('ZREM', P .. 'jobs', place)
        redis.call('ZREM', P .. 'jobs:status:' .. status, place)
        redis.call('ZREM', P .. 'jobs:track:' .. track_id, place)
        redis.call('ZREM', P .. 'jobs:updated', updated_at .. ' ' .. place)
    end
    redis.call('ZREM', P .. 'jobs:written', id)
    redis.call('DEL', P .. 'job:' .. id)
end

-- first: it makes room where there is no memory left
local before = '(' .. whole(now - keep_us)
for _, old in ipairs(redis.call('ZRANGEBYSCORE', P .. 'jobs:written', '-inf', before, 'LIMIT', 0, at_once)) do
    forget(old)
end

local job = P .. 'job:' .. id
local place, old_track_id, old_status, old_updated_at, old_body =
    unpack(redis.call('HMGET', job, 'place', 'track_id', 'status', 'updated_at', 'body'))
if ended_at and place and cjson.decode(old_body).finished_at ~= ended_at then return end
if place then track_id = old_track_id else place = created_at .. ' ' .. id end
-- before anything is taken away: where there is no memory left, this is refused
redis.call('HSET', job, 'place', place, 'track_id', track_id)
redis.call('HSET', job, 'status', status, 'updated_at', updated_at, 'body', body)
if old_status and old_status ~= status then redis.call('ZREM', P .. 'jobs:status:' .. old_status, place) end
if old_updated_at then redis.call('ZREM', P .. 'jobs:updated', old_updated_at .. ' ' .. place) end
redis.call('ZADD', P .. 'jobs', 0, place)
redis.call('ZADD', P .. 'jobs:status:' .. status, 0, place)
redis.call('ZADD', P .. 'jobs:track:' .. track_id, 0, place)
redis.call('ZADD', P .. 'jobs:updated', 0, updated_at .. ' ' .. place)
redis.call('ZADD', P .. 'jobs:written', next_of('revision'), id)
"""
)
"""Write a record, its places and its revision; forget a few that nobody wrote for `keep_us`.

With `ended_at` a record that is there already is written over only if its job ended then.
"""

CHANGED_SINCE = """
local P, revision, limit = KEYS[1], ARGV[1], ARGV[2]
local written =
    redis.call('ZRANGEBYSCORE', P .. 'jobs:written', '(' .. revision, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
local answer = {written[#written] or revision}
for at = 1, #written, 2 do
    answer[#answer + 1] = redis.call('HGET', P .. 'job:' .. written[at], 'body') or nil
end
return answer
"""
"""The revision reached, then the bodies in its order."""

WALK = """
local P, kind, below, since, portion, wanted, index, other = KEYS[1], unpack(ARGV)
local from = below == '' and '+' or '(' .. below
local places = redis.call('ZREVRANGEBYLEX', P .. index, from, '-', 'LIMIT', 0, portion)
local answer = {#places == tonumber(portion) and places[#places] or ''}
for _, place in ipairs(places) do
    if #answer > 2 * wanted then break end
    local updated_at, body =
        unpack(redis.call('HMGET', P .. kind .. place:match('^%S* (.*)$'), 'updated_at', 'body'))
    -- times of one form: their digits decide, whatever the locale
    local shown = body and (since == '' or updated_at >= since)
    if shown and (not other or redis.call('ZSCORE', P .. other, place)) then
        answer[#answer + 1], answer[#answer + 2] = place, body
    end
end
return answer
"""
"""Walk a portion of an index from the newest: where to go on, '' at the end; then `wanted` pairs of place and
body of those that are in the other index too, and were written `since`."""

RECENT = """
local P, since, most, index, other = KEYS[1], unpack(ARGV)
local updated, from = P .. 'jobs:updated', '[' .. since
if redis.call('ZLEXCOUNT', updated, from, '+') > tonumber(most) then return nil end
local answer = {}
for _, member in ipairs(redis.call('ZRANGEBYLEX', updated, from, '+')) do
    local place = member:match('^%S* (.*)$')
    local body = redis.call('HGET', P .. 'job:' .. place:match('^%S* (.*)$'), 'body')
    local shown = body and redis.call('ZSCORE', P .. index, place)
    if shown and (not other or redis.call('ZSCORE', P .. other, place)) then
        answer[#answer + 1], answer[#answer + 2] = place, body
    end
end
return answer
"""
"""Pairs of place and body of what was written `since`, in no order; nothing if that is more than `most`."""

SAVE_TRACK = """
local P, id, created_at, body = KEYS[1], unpack(ARGV)
local track, place = P .. 'track:' .. id, created_at .. ' ' .. id
local old = redis.call('HGET', track, 'place')
if old and old ~= place then redis.call('ZREM', P .. 'tracks', old) end
redis.call('HSET', track, 'place', place, 'body', body)
redis.call('ZADD', P .. 'tracks', 0, place)
"""

FORGET_TRACK = """
local P, id = KEYS[1], ARGV[1]
local place = redis.call('HGET', P .. 'track:' .. id, 'place')
if place then
    redis.call('ZREM', P .. 'tracks', place)
    redis.call('DEL', P .. 'track:' .. id)
end
"""

ACQUIRE = (
    _CLOCK
    + """
local lease, ttl_ms = P .. 'lease:' .. ARGV[1], ARGV[2]
if redis.call('EXISTS', lease) == 1 then return nil end
local fence = next_of('fence')
redis.call('SET', lease, fence, 'PX', ttl_ms)
return fence
"""
)

RENEW = """
local lease, fence, ttl_ms = KEYS[1] .. 'lease:' .. ARGV[1], ARGV[2], ARGV[3]
if redis.call('GET', lease) ~= fence then return 0 end
return redis.call('PEXPIRE', lease, ttl_ms)
"""

RELEASE = """
local lease, fence = KEYS[1] .. 'lease:' .. ARGV[1], ARGV[2]
if redis.call('GET', lease) == fence then redis.call('DEL', lease) end
"""
