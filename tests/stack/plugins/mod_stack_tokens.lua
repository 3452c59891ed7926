-- Logins by JSON Web Token (RFC 7519, HS256), as on deployments with Jitsi's token authentication. Test equipment; loaded on
-- the main host of stacks that were started with a secret.
--
-- lib-jitsi-meet appends ?token=<token> to the address of websocket and BOSH. Every new stream logs in anew, also one that
-- goes on to resume a session by XEP-0198, so that a token which has expired meanwhile keeps a client from resuming, too. A
-- stream that is open is not asked again. Refusals have the condition and the texts that lib-jitsi-meet gets to see there.

local form_decode = require "util.http".formdecode
local verify = require "util.jwt".verify
local time = require "util.time".now

local secret = assert(module:get_option_string("stack_token_secret"), "stack_token_secret is not set")
local clock_file = module:get_option_string("stack_token_clock")

-- By the clock of who judges tokens, which tests may put ahead by so many seconds.
local function now()
    local file = io.open(clock_file)
    local ahead = file and file:read("n") or 0
    if file then file:close() end
    return time() + ahead
end

local function remember_token(event)
    local query = event.request and event.request.url and event.request.url.query
    local parameters = query and form_decode(query)
    if type(parameters) == "table" then event.session.stack_token = parameters.token end
end

module:hook_global("websocket-session", remember_token)
module:hook_global("bosh-session", remember_token)

-- Why it does not let in; nothing when it does.
local function objection(claims)
    local expires, begins = claims.exp, claims.nbf
    if expires ~= nil and type(expires) ~= "number" then return "exp must be number" end
    if begins ~= nil and type(begins) ~= "number" then return "nbf must be number" end
    if expires and now() >= expires then
        return ("Not acceptable by exp (%d sec since expired)"):format(math.floor(now() - expires))
    end
    if begins and now() < begins then return "Not acceptable by nbf" end
end

module:hook("stack-login", function(event)
    local token = event.session.stack_token
    if not token then return "token required" end
    local is_readable, is_ours, claims = pcall(verify, secret, token) -- it throws at what is no base64
    if is_readable and is_ours == false then return "Invalid signature" end
    if not is_readable or not is_ours or type(claims) ~= "table" then return "Invalid token" end
    event.session.stack_token_room = claims.room
    return objection(claims)
end)
