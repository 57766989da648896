-- One decision over one or several buckets, all or nothing: what Limiter.AllowAll does, where replicas meet.
--
-- KEYS: buckets, of one hash slot; one may occur more than once.
-- ARGV: 1 when the cost may be spent, 0 when it is only asked for; then for each bucket two durations, the time it takes to
--       fill and the time that the cost takes to come back, each as whole microseconds and the nanoseconds beyond.
-- A bucket's value is its TAT in Unix nanoseconds, in decimal; it expires when it is in the past. A double holds Unix
-- microseconds exactly until the year 2255, and nanoseconds no longer since 1970: hence the pairs.
-- Returns 1 when the cost was spent, else 0; the time in Unix microseconds; each bucket's value before.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local values = redis.call('MGET', unpack(KEYS))
local micros, nanos, costs = {}, {}, {}
local shrunk = {} -- buckets that were emptied in the future, or by a larger limit, as they are now
local allowed = ARGV[1] == '1'
for i, key in ipairs(KEYS) do
	local us, ns = micros[key], nanos[key]
	local first = not us
	if first then
		us, ns = now, 0
		if values[i] then
			us = tonumber(string.sub(values[i], 1, -4)) or now
			ns = tonumber(string.sub(values[i], -3)) or 0
		end
	end
	if us < now then
		us, ns = now, 0
	end
	local last, rest = now + ARGV[4 * i - 2], tonumber(ARGV[4 * i - 1])
	if us > last or us == last and ns > rest then
		us, ns = last, rest
		if first then
			shrunk[key] = {us, ns}
		end
	end
	us, ns = us + ARGV[4 * i], ns + ARGV[4 * i + 1]
	if ns >= 1000 then
		us, ns = us + 1, ns - 1000
	end
	if us > last or us == last and ns > rest then
		allowed = false
	end
	micros[key], nanos[key] = us, ns
	costs[key] = (costs[key] or 0) + ARGV[4 * i] + ARGV[4 * i + 1]
end
local function store(key, us, ns)
	redis.call('SET', key, string.format('%.0f%03d', us, ns), 'PX', string.format('%.0f', math.floor((us - now) / 1000) + 1))
end
if allowed then
	for key, cost in pairs(costs) do
		if cost > 0 then
			store(key, micros[key], nanos[key])
		end
	end
elseif ARGV[1] == '1' then
	-- Else a bucket that nobody can spend from would be found empty anew each time, until the clock caught up.
	for key, tat in pairs(shrunk) do
		store(key, tat[1], tat[2])
	end
end
return {allowed and 1 or 0, now, unpack(values)}
