-- Calls a tool with fresh ids and fresh arguments, and checks every answer.
--
-- Two things that wrk does by itself would falsify the figures. It drops what is in flight when its time is over: a call
-- would leave a receipt but count as unanswered. So requests stop here, and wrk ends when the last answer is in. And it
-- divides by the time that it was told to run, however early the requests ended. So the clock is read here.
--
-- Environment: CALL_PATH, CALL_TOOL, CALL_HEADERS (one to a line), CALL_SECONDS, CALL_MOST (requests at most),
-- CALL_MARK (a text that every answer must contain, or nothing).

local ffi = require("ffi")
ffi.cdef [[
    typedef struct { long seconds; long nanoseconds; } chio_time;
    int clock_gettime(int clock, chio_time *now);
    int getpid(void);
    int kill(int process, int signal);
]]
local MONOTONIC, INTERRUPT = 1, 2
local time = ffi.new("chio_time")

local function now()
    ffi.C.clock_gettime(MONOTONIC, time)
    return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

local path, tool = os.getenv("CALL_PATH"), os.getenv("CALL_TOOL")
local seconds, most = tonumber(os.getenv("CALL_SECONDS")), tonumber(os.getenv("CALL_MOST"))
local mark = os.getenv("CALL_MARK")
local headers = {}
for name, value in os.getenv("CALL_HEADERS"):gmatch("([^:\n]+): ([^\n]*)") do headers[name] = value end

-- Globals, which `done` reads from another Lua state.
asked, answered, wrong, first, last, complaint = 0, 0, 0, 0, 0, ""
latencies = {}
local waiting, rehearsed = {}, false

local function message(id)
    return wrk.format("POST", path, headers, '{"jsonrpc":"2.0","id":' .. id
        .. ',"method":"tools/call","params":{"name":"' .. tool .. '","arguments":{"message":"echo-' .. id .. '-payload"}}}')
end

function request()
    if not rehearsed then
        -- wrk asks once for a request that it only looks at.
        rehearsed = true
        return message(1000)
    end
    local at = now()
    if first == 0 then first = at end
    if asked >= most or at - first >= seconds then return "" end
    asked = asked + 1
    local id = 1000 + asked
    waiting[id] = at
    return message(id)
end

local function fault(status, body)
    if status ~= 200 then return "status " .. status end
    local id = tonumber(body:match('"id":%s*(%d+)'))
    local since = id and waiting[id]
    if not since then return "an answer to nothing that was asked" end
    waiting[id] = nil
    latencies[#latencies + 1] = last - since
    if not body:find("echo-" .. id .. "-payload", 1, true) then return "an answer to something else" end
    if body:find('"isError":%s*true') then return "a refusal" end
    if mark and not body:find(mark, 1, true) then return "an answer without " .. mark end
end

function response(status, _, body)
    last = now()
    answered = answered + 1
    local found = fault(status, body)
    if found then
        wrong = wrong + 1
        if complaint == "" then complaint = found .. ": " .. body:sub(1, 300) end
    end
    if answered >= asked and (asked >= most or last - first >= seconds) then
        ffi.C.kill(ffi.C.getpid(), INTERRUPT)
    end
end

local thread
function setup(started) thread = started end

function done()
    local sorted = thread:get("latencies")
    table.sort(sorted)
    local function percentile(share) return sorted[math.max(1, math.ceil(#sorted * share))] or 0 end
    local asked, answered, wrong = thread:get("asked"), thread:get("answered"), thread:get("wrong")
    io.stderr:write(thread:get("complaint"), "\n")
    io.write(string.format("\nRESULT %d %d %d %.9f %.9f %.9f\n", asked, answered, wrong,
        thread:get("last") - thread:get("first"), percentile(0.50), percentile(0.99)))
end
