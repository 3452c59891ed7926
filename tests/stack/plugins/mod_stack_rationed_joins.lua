-- A room that lets in so many a second, silently and in order, and one that is full. Test equipment; on the MUC component.
--
-- As Jitsi's mod_muc_rate_limit, where it is switched on: a join that comes too soon waits for its turn, and nobody is
-- told. As its mod_muc_max_occupants: who is one too many gets service-unavailable. A room's name says how many it
-- takes ("quiet-holds-3"), the focus counted; it says nothing for as many as like.

local jid = require "util.jid"
local st = require "util.stanza"

local per_second = tonumber(module:get_option_string("stack_joins_per_second", "0"))
local queues = {} -- room → joins that wait for their turn, the oldest first
local called = setmetatable({}, { __mode = "k" }) -- stanzas whose turn it is

local function is_focus(event)
    return jid.resource(event.stanza.attr.to) == "focus"
end

local function occupants(room)
    local count = 0
    for _ in room:each_occupant() do count = count + 1 end
    return count
end

local function call_next()
    for room, waiting in pairs(queues) do
        local event = table.remove(waiting, 1)
        if #waiting == 0 then queues[room] = nil end
        if event then
            called[event.stanza] = true
            room:handle_normal_presence(event.origin, event.stanza)
        end
    end
    return 1 / per_second
end

module:hook("muc-occupant-pre-join", function(event)
    local limit = tonumber(jid.node(event.room.jid):match("%-holds%-(%d+)$"))
    if not limit or is_focus(event) or occupants(event.room) < limit then return end
    event.origin.send(st.error_reply(event.stanza, "cancel", "service-unavailable"))
    return true
end, 90)

if per_second > 0 then
    module:hook("muc-occupant-pre-join", function(event)
        if is_focus(event) or called[event.stanza] then return end
        queues[event.room] = queues[event.room] or {}
        table.insert(queues[event.room], event)
        return true
    end, 100)
    module:add_timer(1 / per_second, call_next)
end
