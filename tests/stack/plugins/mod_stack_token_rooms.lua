-- A token lets its owner into the room that it names (claim `room`; * is any), as Jitsi's mod_token_verification. Test
-- equipment; loaded on the MUC component of stacks that were started with a secret.

local jid = require "util.jid"
local st = require "util.stanza"

module:hook("muc-occupant-pre-join", function(event)
    local session, stanza = event.origin, event.stanza
    if session.type ~= "c2s" then return end -- focus, recorder and transcriber
    local allowed = session.stack_token_room
    if allowed == "*" or allowed == jid.node(event.room.jid) then return end
    session.send(st.error_reply(stanza, "cancel", "not-allowed", "Room and token mismatched", event.room.jid))
    return true
end, 20) -- before all other checks
