-- What lib-jitsi-meet asks the main host for (XEP-0030): which service components there are. Test equipment.
-- Their addresses are the identities' names, as in Jitsi's mod_muc_lobby_rooms and mod_conference_duration.

module:add_identity("component", "lobbyrooms", module:get_option_string("stack_lobby_muc"))
module:add_identity("component", "breakout_rooms", "breakout." .. module.host)
module:add_identity("component", "conference_duration", "conferenceduration." .. module.host)
