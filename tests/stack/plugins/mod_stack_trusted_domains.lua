-- Focus, recorder and transcriber enter locked and members-only rooms. Test equipment; loaded on the MUC component.
-- As Jitsi's mod_muc_password_whitelist and the lobby's whitelist.

local jid = require "util.jid"

local muc_namespace = "http://jabber.org/protocol/muc"
local trusted = module:get_option_set("stack_trusted_domains", {})

module:hook("muc-occupant-pre-join", function(event)
    local room, stanza = event.room, event.stanza
    if not trusted:contains(jid.host(stanza.attr.from)) then return end
    local affiliation = room:get_affiliation(stanza.attr.from) or "none"
    if room:get_members_only() and affiliation == "none" then
        room:set_affiliation(true, jid.bare(stanza.attr.from), "member")
    end
    local join = stanza:get_child("x", muc_namespace)
    if join and room:get_password() then
        join:remove_children("password", muc_namespace)
        join:tag("password", { xmlns = muc_namespace }):text(room:get_password()):up()
    end
end, 10) -- before the lobby, members-only and password checks
