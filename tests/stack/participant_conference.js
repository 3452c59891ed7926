/**
 * A participant's connection and conference, built from the page's own config and library as the web application would, and
 * the reports about them. Test equipment; participant.js holds the commands.
 *
 * Two things go to Python through `window.reportFromParticipant`:
 * an **action**, when something that this participant did has taken effect (the oracle of the end-to-end tests), and an
 * **event**, something the library told this participant about (for waiting and for debugging).
 */
window.stackConference = (() => {
    'use strict';

    const CONFIRMATION_TIMEOUT_MS = 45000;
    const PRESENCE_TAGS = [ 'SourceInfo', 'audiomuted', 'videomuted', 'videoType' ];
    const UNWATCHED_EVENTS = [ 'conference.audioLevelsChanged' ];

    /** What the person holds: connection, conference, own tracks by what they are used for. */
    const own = { connection: null, conference: null, tracks: {}, name: '', joined: false, moderator: false };
    const mutedStates = new WeakMap(); // own track → what was last reported

    const lastPresence = new Map();
    let waiters = [];
    let unconfirmedReports = [];

    // Reports to Python ----------------------------------------------------------------------------------------------

    function report(what) {
        unconfirmedReports.push(window.reportFromParticipant({ at: Date.now(), ...what }));
    }

    function action(kind, details = {}) {
        report({ type: 'action', kind, endpointId: endpointId(), details });
    }

    function event(name, args) {
        const plain = args.map(argument => plainValue(argument, 0));

        report({ type: 'event', name, args: plain });
        waiters = waiters.filter(waiter => !waiter(name, plain));
    }

    async function delivered() {
        while (unconfirmedReports.length) {
            const reports = unconfirmedReports;

            unconfirmedReports = [];
            await Promise.all(reports);
        }
    }

    /** The JSON of an event's argument: participants, tracks and recordings by what identifies them, no live objects. */
    function plainValue(value, depth) {
        if (value === null || [ 'string', 'number', 'boolean' ].includes(typeof value)) {
            return value;
        }
        if (typeof value !== 'object' || depth > 4) {
            return null;
        }
        if (typeof value.getVideoType === 'function' || typeof value.isMuted === 'function') {
            return {
                track: value.getType(),
                videoType: value.getVideoType?.() ?? null,
                muted: value.isMuted(),
                local: value.isLocal(),
                endpointId: value.getParticipantId() ?? null
            };
        }
        if (typeof value.getDisplayName === 'function') {
            return { endpointId: value.getId(), name: value.getDisplayName() ?? null, hidden: value.isHidden() };
        }
        if (typeof value.getStatus === 'function') {
            return { sessionId: value.getID(), status: value.getStatus(), mode: value.getMode(), error: value.getError() ?? null };
        }
        if (Array.isArray(value)) {
            return value.map(item => plainValue(item, depth + 1));
        }
        if (Object.getPrototypeOf(value) !== Object.prototype) {
            return null;
        }

        return Object.fromEntries(Object.entries(value).map(([ key, item ]) => [ key, plainValue(item, depth + 1) ]));
    }

    /** Resolves with the arguments of the next event of that name that matches; call it before what causes the event. */
    function nextEvent(name, matches = () => true) {
        return new Promise((resolve, reject) => {
            const timer = setTimeout(
                () => reject(new Error(`${name} did not come in ${CONFIRMATION_TIMEOUT_MS} ms`)), CONFIRMATION_TIMEOUT_MS);

            waiters.push((eventName, args) => {
                const found = eventName === name && matches(...args);

                if (found) {
                    clearTimeout(timer);
                    resolve(args);
                }

                return found;
            });
        });
    }

    // Connection and conference --------------------------------------------------------------------------------------

    function endpointId() {
        return own.conference?.myUserId() ?? '';
    }

    /** As the web application: the last segment of the path, normalised. */
    function roomName() {
        const name = decodeURIComponent(location.pathname.split('/').filter(Boolean).pop() ?? '');

        return encodeURIComponent(name.normalize('NFKC').toLowerCase()).toLowerCase();
    }

    function libraryOptions(options) {
        const config = window.config;
        const service = options.transport === 'bosh' ? config.bosh : config.websocket ?? config.bosh;
        const separator = service.includes('?') ? '&' : '?';
        const absolute = service.startsWith('//') ? location.protocol + service : service;

        return {
            ...config,
            serviceUrl: `${absolute}${separator}room=${roomName()}`,
            websocketKeepAliveUrl: undefined,
            p2p: { ...config.p2p, enabled: options.p2p, stunServers: [] },
            // As the web application: later libraries then learn of remote sources from the bridge, not from the focus.
            flags: { ssrcRewritingEnabled: true, ...config.flags, sourceNameSignaling: options.sourceNames },
            disableAudioLevels: true,
            enableNoAudioDetection: false,
            enableNoisyMicDetection: false,
            enableTalkWhileMuted: false
        };
    }

    function connect(options) {
        JitsiMeetJS.setLogLevel(JitsiMeetJS.logLevels.ERROR);
        JitsiMeetJS.init({
            disableAudioLevels: true,
            disableThirdPartyRequests: true,
            enableAnalyticsLogging: false,
            sourceNameSignaling: options.sourceNames // December 2021: switches SourceInfo presence on
        });
        own.connection = new JitsiMeetJS.JitsiConnection(null, options.jwt, libraryOptions(options));
        const { CONNECTION_ESTABLISHED, CONNECTION_FAILED } = JitsiMeetJS.events.connection;

        for (const name of Object.values(JitsiMeetJS.events.connection)) {
            own.connection.addEventListener(name, (...args) => event(name, args));
        }

        return new Promise((resolve, reject) => {
            own.connection.addEventListener(CONNECTION_ESTABLISHED, resolve);
            own.connection.addEventListener(CONNECTION_FAILED, error => reject(new JoinFailure(error)));
            own.connection.connect({});
        });
    }

    class JoinFailure extends Error {
        constructor(error) {
            super(`JOIN FAILED ${error}`); // participant.py looks for this
        }
    }

    function createConference(options) {
        own.conference = own.connection.initJitsiConference(roomName(), libraryOptions(options));
        const names = new Set(Object.values(JitsiMeetJS.events.conference));

        for (const name of names) {
            if (typeof name === 'string' && !UNWATCHED_EVENTS.includes(name)) {
                own.conference.on(name, (...args) => event(name, args));
            }
        }
        for (const tag of PRESENCE_TAGS) {
            own.conference.addCommandListener(tag, (node, from) => onPresence(tag, from, node.value));
        }
        watchOwnFate();
        own.conference.setDisplayName(own.name);
    }

    /** The same tag comes with every presence: only a change is an event. */
    function onPresence(tag, from, value) {
        const key = `${from} ${tag}`;

        if (lastPresence.get(key) !== value) {
            lastPresence.set(key, value);
            event(`presence.${tag}`, [ from, value ]);
        }
    }

    /** What happens to this participant, by its own doing or not. */
    function watchOwnFate() {
        const events = JitsiMeetJS.events.conference;
        const { conference } = own;

        conference.on(events.CONFERENCE_JOINED, () => {
            // In December 2021 the echo of an own presence that arrives while leaving is taken for another arrival.
            if (own.joined || !endpointId()) {
                return;
            }
            own.joined = true;
            action('joined', { name: own.name, room: roomName() });
        });
        conference.on(events.CONFERENCE_LEFT, () => {
            if (own.joined) {
                own.joined = false;
                action('left');
            }
        });
        conference.on(events.KICKED, (actor, reason) => {
            own.joined = false;
            action('kicked', { by: actor?.getId() ?? null, reason: reason ?? null });
        });
        conference.on(events.CONFERENCE_FAILED, (error, detail) => {
            if (error === JitsiMeetJS.errors.conference.CONFERENCE_DESTROYED && own.joined) {
                own.joined = false;
                action('room_destroyed', { reason: plainValue(detail ?? null, 0) });
            }
        });
        conference.on(events.TRACK_MUTE_CHANGED, (track, actor) => {
            if (track.isLocal()) {
                reportMute(track, actor);
            }
        });
        conference.on(events.USER_ROLE_CHANGED, (id, role) => {
            const isModerator = role === 'moderator';

            if (id === endpointId() && isModerator !== own.moderator) {
                own.moderator = isModerator;
                action('role_changed', { role: isModerator ? 'moderator' : 'participant' });
            }
        });
    }

    /** Conference and track both tell of a mute, in an order that changes when a track is replaced: the first one counts. */
    function reportMute(track, actor) {
        const muted = track.isMuted();

        if (mutedStates.get(track) !== muted) {
            mutedStates.set(track, muted);
            action(`${track.getType()}_${muted ? 'muted' : 'unmuted'}`, { by: actor?.getId() ?? null });
        }
    }

    /**
     * Libraries of 2026 forget to tell of the mutes of all own tracks once any of them was removed or replaced: then the
     * track itself tells, though not by whom. Call it after the track was added, so that the conference tells first.
     */
    function watchTrack(track) {
        track.addEventListener(JitsiMeetJS.events.track.TRACK_MUTE_CHANGED, () => reportMute(track, null));
    }

    function joined() {
        const events = JitsiMeetJS.events.conference;

        return new Promise((resolve, reject) => {
            own.conference.on(events.CONFERENCE_JOINED, resolve);
            own.conference.on(events.CONFERENCE_FAILED, error => reject(new JoinFailure(error)));
        });
    }

    async function addTracks(devices) {
        if (!devices.length) {
            return;
        }
        const tracks = await JitsiMeetJS.createLocalTracks({ devices });

        for (const track of tracks) {
            await own.conference.addTrack(track);
            watchTrack(track);
            own.tracks[track.getType() === 'audio' ? 'microphone' : 'camera'] = track;
        }
        await untilAnnounced(tracks.length);
        action('tracks_added', { media: tracks.map(track => track.getType()) });
    }

    /**
     * Sources are announced when the media session is accepted, and not while one is alone: who mutes before that was
     * never seen unmuted, for the library then leaves the mute out, too.
     */
    async function untilAnnounced(count) {
        const deadline = Date.now() + CONFIRMATION_TIMEOUT_MS;

        while (own.conference.getParticipants().length && announcedSources() < count) {
            if (Date.now() > deadline) {
                throw new Error(`the tracks were not announced in ${CONFIRMATION_TIMEOUT_MS} ms`);
            }
            await new Promise(resolve => setTimeout(resolve, 20));
        }
    }

    /** How many sources this participant's own presence names; clients without SourceInfo have an element for each kind. */
    function announcedSources() {
        const { nodes } = own.conference.room.presMap;

        if (sendsSeveralVideos()) {
            return Object.keys(JSON.parse(nodes.find(node => node.tagName === 'SourceInfo')?.value ?? '{}')).length;
        }

        return nodes.filter(node => [ 'audiomuted', 'videomuted' ].includes(node.tagName)).length;
    }

    function heldTrack(use) {
        const track = own.tracks[use];

        if (!track) {
            throw new Error(`there is no ${use} track`);
        }

        return track;
    }

    /** December 2021 shows one video at a time; later libraries send the screen beside the camera. */
    function sendsSeveralVideos() {
        return typeof own.conference.getLocalVideoTracks === 'function';
    }

    async function bridgeChannel() {
        if (!own.conference.rtc?._channel?.isOpen()) {
            await nextEvent('conference.dataChannelOpened');
        }
    }

    async function untilModerator() {
        if (!own.conference.isModerator()) {
            await nextEvent('conference.roleChanged', (id, role) => id === endpointId() && role === 'moderator');
        }
    }

    return {
        own,
        action,
        addTracks,
        bridgeChannel,
        connect,
        createConference,
        delivered,
        endpointId,
        heldTrack,
        joined,
        nextEvent,
        sendsSeveralVideos,
        untilModerator,
        watchTrack
    };
})();
