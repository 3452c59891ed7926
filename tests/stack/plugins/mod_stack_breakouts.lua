-- Breakout rooms, as everybody in the main room learns of them. Test equipment; loaded on the MUC component.
--
-- As Jitsi's mod_muc_breakout_rooms: who is sent to a breakout room leaves the main room with the status "switch_room", and
-- 0.3 s after each change everybody in the main room is told which rooms there are and who is where, with real addresses.
-- The breakout rooms themselves are but lists here: nobody can be watched in them. The focus commands it, by IQ:
-- <breakouts action="move|go" room="name" nick="endpoint" id="room's id" name="room's name"/>, where a move without id ends
-- all breakout rooms, and "go" takes somebody out of the one where they are.

local json = require "util.json"
local st = require "util.stanza"

local main_host = module.host:gsub("^[^.]+%.", "")
local breakout_host = "breakout." .. main_host
local broadcast_seconds = 0.3
local is_told = {} -- by room: a broadcast is due

local function participants_of(room)
    local found = {}
    for nick, occupant in room:each_occupant() do
        if nick ~= room.jid .. "/focus" then
            local name = occupant:get_presence():get_child_text("nick", "http://jabber.org/protocol/nick")
            found[nick] = { jid = occupant.jid, role = occupant.role, displayName = name }
        end
    end
    return found
end

local function payload_of(room)
    local main = room.jid:match("^[^@]+")
    local rooms = { [main] = { isMainRoom = true, id = main, jid = room.jid, participants = participants_of(room) } }
    for id, breakout in pairs(room._data.stack_breakouts or {}) do
        rooms[id] = { id = id, jid = breakout.jid, name = breakout.name, participants = breakout.participants }
    end
    return json.encode({ type = "breakout_rooms", event = "features/breakout-rooms/update", rooms = rooms })
end

local function broadcast(room)
    if is_told[room.jid] or not room._data.stack_breakouts then return end
    is_told[room.jid] = true
    module:add_timer(broadcast_seconds, function()
        is_told[room.jid] = nil
        local payload = payload_of(room)
        for _, occupant in room:each_occupant() do
            module:send(st.message({ from = breakout_host, to = occupant.jid })
                :tag("json-message", { xmlns = "http://jitsi.org/jitmeet" }):text(payload):up())
        end
    end)
end

local function entry_of(room, nick)
    for _, breakout in pairs(room._data.stack_breakouts or {}) do
        local entry = breakout.participants[breakout.jid .. "/" .. nick]
        if entry then
            breakout.participants[breakout.jid .. "/" .. nick] = nil
            return entry
        end
    end
end

-- What a client does that is sent to another room.
local function leave_main_room(room, nick)
    local occupant = room:get_occupant_by_nick(room.jid .. "/" .. nick)
    if not occupant then return nil end
    local name = occupant:get_presence():get_child_text("nick", "http://jabber.org/protocol/nick")
    local entry = { jid = occupant.jid, role = occupant.role, displayName = name }
    local goodbye = st.presence({ type = "unavailable", from = occupant.jid, to = occupant.nick })
    room:handle_presence_to_occupant({}, goodbye:tag("status"):text("switch_room"):up())
    return entry
end

local function move(room, command)
    local breakouts = room._data.stack_breakouts or {}
    room._data.stack_breakouts = breakouts
    local id, nick = command.id, command.nick
    if not id then
        room._data.stack_breakouts = {}
        return true
    end
    breakouts[id] = breakouts[id] or { jid = id .. "@" .. breakout_host, name = command.name, participants = {} }
    if not nick then return true end
    local entry = entry_of(room, nick) or leave_main_room(room, nick)
    if not entry then return false end
    -- On the way it is in neither: the first list may not have it.
    broadcast(room)
    module:add_timer(2 * broadcast_seconds, function()
        breakouts[id].participants[breakouts[id].jid .. "/" .. nick] = entry
        broadcast(room)
    end)
    return true
end

module:hook("iq-set/host/urn:meeta:stack:breakouts:breakouts", function(event)
    local command = event.stanza.tags[1].attr
    local room = prosody.hosts[module.host].modules.muc.get_room_from_jid(command.room .. "@" .. module.host)
    local done = room and (command.action == "go" and entry_of(room, command.nick) or move(room, command))
    if done then broadcast(room) end
    event.origin.send(done and st.reply(event.stanza) or st.error_reply(event.stanza, "cancel", "item-not-found"))
    return true
end)

module:hook("muc-occupant-joined", function(event) broadcast(event.room) end, -20)
module:hook("muc-occupant-left", function(event) broadcast(event.room) end, -20)
