-- Lobby of a members-only conference room, as lib-jitsi-meet expects it. Test equipment; loaded on the MUC component.
--
-- As Jitsi's mod_muc_lobby_rooms: switching a room to members-only opens a second room on the lobby component, where those
-- who knock wait and moderators see them; an invitation makes a member; switching back destroys the lobby, and its
-- <destroy jid> sends the waiting people into the main room.

local jid = require "util.jid"
local st = require "util.stanza"

local lobby_host = module:get_option_string("stack_lobby_muc")

local function lobby_address(room)
    return jid.node(room.jid) .. "@" .. lobby_host
end

local function lobby_of(room)
    return prosody.hosts[lobby_host].modules.muc.get_room_from_jid(lobby_address(room))
end

local function open_lobby(room)
    if lobby_of(room) then return end
    local lobby = prosody.hosts[lobby_host].modules.muc.create_room(lobby_address(room))
    lobby:set_persistent(true) -- it stays although nobody waits in it
    lobby:set_whois("anyone")
    for owner in room:each_affiliation("owner") do lobby:set_affiliation(true, owner, "owner") end
end

local function close_lobby(room, main_room_jid, reason)
    local lobby = lobby_of(room)
    if not lobby then return end
    lobby:set_persistent(false)
    lobby:destroy(main_room_jid, reason)
end

module:hook("muc-config-submitted/muc#roomconfig_membersonly", function(event)
    if event.value then
        open_lobby(event.room)
    else
        close_lobby(event.room, event.room.jid, "Lobby room closed.")
    end
end, -10) -- after Prosody has stored the new value

module:hook("muc-room-destroyed", function(event)
    close_lobby(event.room, nil, "The main room was destroyed.")
end)

-- A moderator who is appointed later sees who knocks, too.
module:hook("muc-set-affiliation", function(event)
    local lobby = lobby_of(event.room)
    if lobby and event.affiliation == "owner" then lobby:set_affiliation(true, event.jid, "owner") end
end)

module:hook("muc-disco#info", function(event)
    if not lobby_of(event.room) then return end
    table.insert(event.form, { name = "muc#roominfo_lobbyroom", type = "text-single", value = "" })
    event.formdata["muc#roominfo_lobbyroom"] = lobby_address(event.room)
end)

module:hook("muc-occupant-pre-join", function(event)
    local room, stanza = event.room, event.stanza
    if not room:get_members_only() or not lobby_of(room) then return end
    if (room:get_affiliation(stanza.attr.from) or "none") ~= "none" then return end
    local address = lobby_address(room)
    local reply = st.error_reply(stanza, "auth", "registration-required", nil, room.jid)
    reply:get_child("error"):tag("lobbyroom", { xmlns = "http://jitsi.org/jitmeet" }):text(address):up() -- read from 2022 on
    reply:reset():tag("lobbyroom"):text(address):up() -- read before
    event.origin.send(reply)
    return true
end, -4) -- just before Prosody's own members-only check, whose error names no lobby
