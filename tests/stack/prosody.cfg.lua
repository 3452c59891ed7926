-- Prosody of the local test stack: what docker-jitsi-meet configures, reduced to one host and to loopback.
-- Every ENV_NAME is filled from the environment by Prosody itself; prosody.py sets them.

local domain = ENV_STACK_DOMAIN
local focus_user = "focus@focus." .. domain
local token_secret = ENV_STACK_TOKEN_SECRET
local asks_for_tokens = token_secret ~= ""

pidfile = ENV_STACK_DIRECTORY .. "/prosody.pid"
data_path = ENV_STACK_DIRECTORY .. "/data"
certificates = ENV_STACK_DIRECTORY
plugin_paths = { ENV_STACK_PLUGINS }
log = { info = "*stdout" } -- prosody.py reads which ports were opened from here
run_as_root = true

-- Browsers come in through the web front and its tunnel; nobody speaks plain XMPP to this server.
interfaces = { "127.0.0.1" }
local_interfaces = { "127.0.0.1" }
c2s_ports = {}
c2s_direct_tls_ports = {}
s2s_ports = {}
s2s_direct_tls_ports = {}
https_ports = {}
http_ports = { tonumber(ENV_STACK_HTTP_PORT) }
http_interfaces = { "127.0.0.1" }
component_ports = { tonumber(ENV_STACK_COMPONENT_PORT) }
component_interfaces = { "127.0.0.1" }

modules_enabled = { "disco", "ping", "posix", "roster", "saslauth", "time", "version" }
modules_disabled = { "limits", "offline", "register", "s2s", "tls" }
storage = "internal"
c2s_require_encryption = false
consider_bosh_secure = true
consider_websocket_secure = true
http_default_host = domain
admins = { focus_user }
unlimited_jids = { focus_user }

smacks_max_unacked_stanzas = 5
smacks_max_old_sessions = 1
smacks_hibernation_time = tonumber(ENV_STACK_HIBERNATION_SECONDS)
bosh_max_inactivity = tonumber(ENV_STACK_HIBERNATION_SECONDS)

VirtualHost(domain)
authentication = "stack_anonymous"
modules_enabled = { "bosh", "websocket", "smacks", "stack_identities", asks_for_tokens and "stack_tokens" or nil }
stack_lobby_muc = "lobby." .. domain
stack_token_secret = token_secret
stack_token_clock = ENV_STACK_DIRECTORY .. "/token_clock"

local function conference_rooms(kept_messages)
    storage = "memory"
    restrict_room_creation = true -- rooms are made by the focus (an admin) only
    muc_room_locking = false
    muc_room_default_public_jids = true
    muc_room_default_history_length = kept_messages
    muc_tombstones = false
end

Component("muc." .. domain)("muc")
conference_rooms(20)
stack_lobby_muc = "lobby." .. domain
stack_joins_per_second = ENV_STACK_JOINS_PER_SECOND
stack_trusted_domains = { "focus." .. domain, "hidden." .. domain }
modules_enabled = {
    "stack_breakouts", "stack_lobby", "stack_rationed_joins", "stack_room_info", "stack_trusted_domains",
    asks_for_tokens and "stack_token_rooms" or nil,
}

Component("lobby." .. domain)("muc")
conference_rooms(0)

Component("focus." .. domain)
component_secret = ENV_STACK_COMPONENT_SECRET

-- The domain that recorders and transcribers log in on: `hiddenDomain` in config.js.
Component("hidden." .. domain)
component_secret = ENV_STACK_COMPONENT_SECRET
