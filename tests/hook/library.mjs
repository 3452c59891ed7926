// A stand-in for lib-jitsi-meet: emitters without any logic, commanded by the tests.

export class Emitter {
    constructor() {
        this.listeners = new Map();
    }

    on(event, listener) {
        this.listeners.set(event, [ ...this.listeners.get(event) ?? [], listener ]);
    }

    /** As node's `events`: synchronous, and what a listener throws keeps the later ones from running. */
    emit(event, ...args) {
        (this.listeners.get(event) ?? []).forEach(listener => listener(...args));
    }
}

/** A websocket or a data channel: its closing, what arrives on it, and what was sent. */
export class Socket extends Emitter {
    sent = [];

    addEventListener(event, listener) {
        this.on(event, listener);
    }

    send(text) { this.sent.push(JSON.parse(text).colibriClass); }
}

/** The library's own connection: what is internal, and the same in 2021 and 2026. */
export class XmppConnection extends Emitter {
    constructor() {
        super();
        this.connected = true;
        this.lastSuccess = null; // by the wall clock of `clock`
        this.clock = () => 0;
        this.domain = 'meet.example.org';
        this.pings = [];
        this.ping = { ping: (...args) => this.pings.push(args) };
        const shown = [];

        this._stropheConn = { _proto: { socket: new Socket() }, shown, xmlInput: stanza => shown.push(stanza) };
        this.requests = []; // [stanza, answer, refuse]
    }

    sendIQ(stanza, answer, refuse) { this.requests.push([ stanza, answer, refuse ]); }

    addEventListener(event, listener) {
        this.on(event, listener);
    }

    getTimeSinceLastSuccess() {
        return this.lastSuccess ? this.clock() - this.lastSuccess : null;
    }
}

/** An element of a stanza, as far as the hook reads it. */
export class Stanza {
    constructor(localName, attributes = {}, children = [], textContent = '') {
        Object.assign(this, { localName, attributes, children, textContent, parentNode: null });
        children.forEach(child => Object.assign(child, { parentNode: this }));
    }

    getAttribute(name) {
        return this.attributes[name] ?? null;
    }
}

/** Has a channel to the bridge when `open` is called. */
class Rtc {
    constructor() {
        this._channel = null;
    }

    open() {
        this._channel = { _channel: new Socket(), isOpen() { return this._channel !== null; } };
    }

    close() {
        const socket = this._channel._channel;

        this._channel._channel = null;
        socket.emit('close');
    }

    /** The bridge says something. */
    say() { this._channel._channel.emit('message'); }
}

/** A Jingle session with the bridge. */
export class MediaSession {
    state = 'active';
    iceState = 'connected';
    terminated = [];

    getIceConnectionState() { return this.iceState; }

    terminate(done, failed, options) {
        this.terminated.push(options);
        this.state = 'ended';
    }
}

export class Conference extends Emitter {
    constructor(name, options) {
        super();
        this.rtc = new Rtc();
        this.name = name;
        this.options = options;
        this.calls = [];
        this.commands = new Map();
        this.participants = [];
        this.joined = false;
        this.jvbJingleSession = null;
        this.room = { roomjid: 'standup@muc', members: { 'standup@muc/focus': {} } };
    }

    isJoined() { return this.joined; }
    getParticipantCount() { return this.participants.length + 1; }
    setAudioSubscriptionMode(wanted) { this.wanted = wanted; }

    addCommandListener(element, listener) {
        this.commands.set(element, listener);
    }

    /** A presence as the library hands it out: element by element, each with a text or with attributes. */
    presence(endpointId, elements) {
        for (const [ element, given ] of Object.entries(elements)) {
            const [ value, attributes ] = typeof given === 'object' ? [ '', given ] : [ given, {} ];

            this.commands.get(element)?.({ value, attributes, children: [], tagName: element }, endpointId, 'jid');
        }
    }

    sendCommand(name, values) { this.calls.push([ 'sendCommand', name, values ]); }
    myUserId() { return 'the-bot'; }
    getRole() { return 'none'; }
    getParticipants() { return this.participants; }
    setDisplayName(name) { this.calls.push([ 'setDisplayName', name ]); }
    join(password) { this.calls.push([ 'join', password, this.listeners.size ]); }
    async leave() { this.calls.push([ 'leave' ]); }
    async joinLobby(name) { this.calls.push([ 'joinLobby', name ]); }
}

export class Connection extends Emitter {
    constructor(appId, token, options) {
        super();
        Object.assign(this, { appId, token, options, calls: [], conferences: [] });
        this.xmpp = {
            connection: new XmppConnection(),
            moderator: { _createConferenceIq: room => `conference request for ${room}` }
        };
    }

    addEventListener(event, listener) {
        this.on(event, listener);
    }

    initJitsiConference(name, options) {
        this.conferences.push(new Conference(name, options));

        return this.conferences.at(-1);
    }

    connect(options) { this.calls.push([ 'connect', options, this.listeners.size ]); }
    async disconnect() { this.calls.push([ 'disconnect' ]); }
}

export const EVENTS = {
    conference: {
        CONFERENCE_JOINED: 'conference.joined',
        CONFERENCE_LEFT: 'conference.left',
        KICKED: 'conference.kicked',
        USER_JOINED: 'conference.userJoined',
        USER_LEFT: 'conference.userLeft',
        SUBJECT_CHANGED: 'conference.subjectChanged',
        SAME_SUBJECT: 'conference.subjectChanged',
        TRACK_AUDIO_LEVEL_CHANGED: 'conference.audioLevelsChanged',
        E2EE_VERIFICATION_READY: 'conference.e2ee.verification.ready',
        PHONE_NUMBER_CHANGED: 'conference.phoneNumberChanged',
        NEW_IN_2030: 'conference.not_known_yet',
        notAnEvent: 42
    },
    connection: {
        CONNECTION_ESTABLISHED: 'connection.connectionEstablished',
        CONNECTION_FAILED: 'connection.connectionFailed',
        CONNECTION_DISCONNECTED: 'connection.connectionDisconnected',
        notAnEvent: undefined
    },
    connectionQuality: { LOCAL_STATS_UPDATED: 'cq.local_stats_updated' },
    track: { TRACK_MUTE_CHANGED: 'track.trackMuteChanged' },
    mediaDevices: { DEVICE_LIST_CHANGED: 'mediaDevices.devicechange' },
    rtcstats: { RTC_STATS_PC_EVENT: 'rtstats_pc_event' }
};

export function library(more = {}) {
    const made = [];

    return {
        version: '1.0.2030',
        events: EVENTS,
        logLevels: { ERROR: 'error' },
        made,
        inits: [],
        init(options) { this.inits.push(options); },
        setLogLevel(level) { this.logLevel = level; },
        JitsiConnection: class extends Connection {
            constructor(...args) {
                super(...args);
                made.push(this);
            }
        },
        ...more
    };
}
