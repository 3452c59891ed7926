-- Anonymous login (RFC 4505) whose user survives a reconnect. Test equipment.
--
-- lib-jitsi-meet appends ?previd=<resumption token> to the websocket address when it reconnects. XEP-0198 resumption looks
-- a session up by its user name, and Prosody's own anonymous login gives every connection a new one, so a resume would
-- always fail. Like Jitsi's own anonymous login, this one gives the owner of the token his old name back. New users get a
-- UUID, because lib-jitsi-meet takes the first eight hexadecimal digits of the user name as endpoint id.

local form_decode = require "util.http".formdecode
local new_sasl = require "util.sasl".new
local uuid = require "util.uuid".generate

local function user_of_token(token)
    for username, user in pairs(prosody.hosts[module.host].sessions or {}) do
        for _, session in pairs(user.sessions or {}) do
            if session.resumption_token == token then return username end
        end
    end
end

local function not_supported() return nil, "anonymous login only" end

local provider = {
    test_password = not_supported,
    get_password = not_supported,
    set_password = not_supported,
    user_exists = not_supported,
    create_user = not_supported,
    delete_user = not_supported,
}

function provider.get_sasl_handler(session)
    local handler = new_sasl(module.host, { anonymous = function() return true end })
    local process = handler.process
    -- After a refusal the client may try again on the same stream, with nothing less asked of it.
    function handler:clean_clone() return provider.get_sasl_handler(session) end
    function handler:process(message)
        local refusal = module:fire_event("stack-login", { session = session }) -- mod_stack_tokens, where it is loaded
        if refusal then return "failure", "not-allowed", refusal end
        local status, reply, text = process(self, message)
        if status == "success" then
            local token = session and session.stack_previous_token
            self.username = token and user_of_token(token) or uuid()
        end
        return status, reply, text
    end
    return handler
end

local function remember_token(event)
    local query = event.request and event.request.url and event.request.url.query
    local parameters = query and form_decode(query)
    if type(parameters) == "table" then event.session.stack_previous_token = parameters.previd end
end

module:hook_global("websocket-session", remember_token)
module:hook("websocket-session", remember_token)
module:provides("auth", provider)
