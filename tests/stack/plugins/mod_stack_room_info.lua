-- Meeting id and creation time of a conference room. Test equipment; loaded on the MUC component.
--
-- As Jitsi's mod_muc_meeting_id and mod_conference_duration: both are in the room's disco#info for libraries of 2022 and
-- later; for older ones the time is also pushed to each occupant in a message from the conference_duration component. A
-- meeting begins with the first occupant beside the focus.

local jid = require "util.jid"
local json = require "util.json"
local st = require "util.stanza"
local uuid = require "util.uuid".generate
local now = require "util.time".now

local main_host = module.host:gsub("^[^.]+%.", "")

local function occupants(room)
    local count = 0
    for _ in room:each_occupant() do count = count + 1 end
    return count
end

local function push_creation_time(room, occupant)
    local payload = json.encode({ type = "conference_duration", created_timestamp = room._data.stack_created_timestamp })
    module:send(st.message({ from = "conferenceduration." .. main_host, to = occupant.jid })
        :tag("json-message", { xmlns = "http://jitsi.org/jitmeet" }):text(payload):up())
end

module:hook("muc-room-created", function(event)
    event.room._data.stack_meeting_id = uuid()
end)

module:hook("muc-occupant-joined", function(event)
    local room = event.room
    if jid.resource(event.occupant.nick) == "focus" or occupants(room) < 2 then return end
    room._data.stack_created_timestamp = room._data.stack_created_timestamp or tostring(math.floor(now() * 1000))
    push_creation_time(room, event.occupant)
end)

local function add_field(event, name, value)
    table.insert(event.form, { name = name, type = "text-single", value = "" })
    event.formdata[name] = value
end

module:hook("muc-disco#info", function(event)
    add_field(event, "muc#roominfo_meetingId", event.room._data.stack_meeting_id)
    add_field(event, "muc#roominfo_created_timestamp", event.room._data.stack_created_timestamp)
end)
