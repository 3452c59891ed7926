// Listens to everything that lib-jitsi-meet says of one conference. What is listened to is data (the tables below
// and the library's own list of events); the code that does it is small. Nothing here throws into the library: a
// listener that throws would keep later listeners, the library's own among them, from running.
(() => {
    'use strict';

    const meetaBot = globalThis.meetaBot ??= {};

    // Groups of JitsiMeetJS.events that are emitted elsewhere than on the conference.
    const OTHER_EMITTERS = new Set([ 'connection', 'track', 'mediaDevices', 'rtcstats' ]);

    // Events that are not listened to, and why.
    const SKIPPED = {
        'conference.audioLevelsChanged': 'five a second and participant; the bot asks for none',
        'conference.e2ee.verification.ready': 'carries a short authentication string, a secret',
        'conference.encode_time_stats_received': 'about the bot\'s own video, of which there is none',
        'conference.inbound_video_stats_received': 'about received video, of which there is none'
    };

    // How many leading arguments of an event may leave the page, where not all may.
    const ARGUMENTS = {
        'connection.connectionFailed': 2, // the third holds the login data
        'conference.phoneNumberChanged': 0
    };

    // Presence elements that tell of muted microphones, cameras and shared screens. No event does so in every version
    // and configuration: tracks are only there for who receives media, and the bot receives none.
    const PRESENCE = [ 'SourceInfo', 'audiomuted', 'videomuted', 'videoType' ];

    // What the presence of the conference focus tells of a recording. Later libraries say who started it only after it
    // has started, and who stopped it only when the recorder left before the focus spoke.
    const RECORDING = 'jibri-recording-status';
    const FOCUS = 'focus'; // its nick, by which the library knows it, too

    // Events that carry people's addresses: what of them may leave the page.
    const REWRITTEN = {
        'conference.breakout-rooms.updated': ([ given ]) => [ { rooms: breakoutRooms(given) } ],
        'conference.breakout-rooms.move-to-room': ([ address ]) => [ nodeOf(address) ]
    };

    // What an event leaves out and the conference knows: added as a last argument.
    const CONTEXT = {
        'conference.joined': conference => meetaBot.serialize([ {
            endpoint_id: conference.myUserId(),
            role: conference.getRole?.(),
            roster_size: conference.getParticipants().length
        } ])
    };

    /** Runs `work`; what it throws is told as a message instead. */
    function guarded(outbox, where, work) {
        try {
            work();
        } catch (error) {
            try {
                outbox.push('hook.error', [ where, meetaBot.problemText(error) ]);
            } catch {
                // Nothing is left to tell it with.
            }
        }
    }

    function record(outbox, origin, args, context = []) {
        guarded(outbox, origin, () => {
            const kept = REWRITTEN[origin]?.(args) ?? args.slice(0, ARGUMENTS[origin] ?? args.length);

            outbox.push(origin, [ ...meetaBot.serialize(kept), ...context ]);
        });
    }

    const nodeOf = address => String(address ?? '').split('@')[0];

    /**
     * Whose entry in a list of breakout rooms that is. The list is keyed by the address in the room, whose last part
     * the endpoint keeps in all rooms; it is also how the real address, random to begin with, begins.
     */
    function endpointOfEntry(key, room, { jid } = {}) {
        const [ place, nick ] = key.split('/');

        if (nick && (place === room.jid || nodeOf(place) === room.id || nodeOf(place) === nodeOf(room.jid))) {
            return nick;
        }

        return (/^[0-9a-f]{8}(?=-)/.exec(String(jid ?? '')) ?? [ null ])[0];
    }

    /** Breakout rooms with endpoints and names. Empty tables may come as lists. */
    function breakoutRooms(given) {
        return Object.entries(given?.rooms ?? {}).map(([ id, room ]) => ({
            id: String(room.id ?? id),
            name: room.name ?? null,
            is_main: Boolean(room.isMainRoom),
            participants: Object.entries(room.participants ?? {}).map(([ key, entry ]) => ({
                endpoint_id: endpointOfEntry(key, room, entry),
                name: entry.displayName ?? null,
                role: entry.role ?? null
            }))
        }));
    }

    /** The string values of the events that a conference emits, each once. */
    function conferenceEvents(library) {
        const values = new Set();

        for (const [ group, events ] of Object.entries(library.events ?? {})) {
            if (!OTHER_EMITTERS.has(group)) {
                Object.values(events).forEach(value => typeof value === 'string' && values.add(value));
            }
        }

        return [ ...values ].filter(value => !(value in SKIPPED));
    }

    function connectionEvents(library) {
        return Object.values(library.events?.connection ?? {}).filter(value => typeof value === 'string');
    }

    /**
     * Listens to a JitsiConnection. Call it before `connect()`.
     *
     * @param {object} library - JitsiMeetJS.
     * @param {object} connection
     * @param {meetaBot.Outbox} outbox
     */
    meetaBot.listenToConnection = (library, connection, outbox) => {
        guarded(outbox, 'stanzas', () => listenToStanzas(connection, outbox));
        for (const event of connectionEvents(library)) {
            connection.addEventListener(event, (...args) => record(outbox, event, args));
        }
    };

    /**
     * Listens to a JitsiConference. Call it before `join()`: who is there already is told before "joined", once.
     *
     * @param {object} library - JitsiMeetJS.
     * @param {object} conference
     * @param {meetaBot.Outbox} outbox
     */
    meetaBot.listenToConference = (library, conference, outbox) => {
        const events = conferenceEvents(library);
        const departures = ownDeparture();
        const presence = presenceMemory(outbox);

        for (const event of events) {
            conference.on(event, (...args) => {
                let context = [];

                guarded(outbox, event, () => {
                    if (event === 'conference.userJoined') {
                        presence.renew(args[0]);
                    } else if (event === 'conference.userLeft') {
                        presence.forget(args[0]);
                        context = [ Object.assign(departures.flag(), outbox.goodbyes.get(args[0])) ];
                    } else if (event === 'conference.left') {
                        departures.raise();
                    } else {
                        context = CONTEXT[event]?.(conference) ?? [];
                    }
                });
                record(outbox, event, args, context);
            });
        }
        for (const element of PRESENCE) {
            conference.addCommandListener(element, (node, endpointId) => guarded(outbox, element, () => {
                if (endpointId !== conference.myUserId()) {
                    presence.notice(endpointId, element, String(node?.value ?? ''));
                }
            }));
        }
        conference.addCommandListener(RECORDING, recordingPresence(outbox));
        outbox.push('hook.installed', meetaBot.serialize([ {
            events: [ ...events, ...connectionEvents(library) ],
            library_version: library.version ?? null,
            page_load: outbox.pageLoad
        } ]));
    };

    // What the library leaves out of its events: when the server had a stanza that comes late (XEP-0203), and why
    // somebody left. Strophe shows each stanza before anybody handles it, and that is done within the same task.
    function listenToStanzas(connection, outbox) {
        const strophe = connection?.xmpp?.connection?._stropheConn;
        const before = strophe?.xmlInput;

        if (typeof before !== 'function') {
            return;
        }
        strophe.xmlInput = function(stanza, ...rest) {
            guarded(outbox, 'stanza', () => {
                // What is told at the end of this task is about this stanza, too.
                queueMicrotask(() => queueMicrotask(() => outbox.about()));
                outbox.about(stanzaTime(stanza), goodbyesIn(stanza));
            });

            return before.call(this, stanza, ...rest);
        };
    }

    const childrenOf = (element, name) => Array.from(element?.children ?? []).filter(child => child.localName === name);

    /** Long polling (BOSH) brings several stanzas at once, of which only the first is shown. */
    const siblingsOf = stanza => stanza.parentNode?.children ?? [ stanza ];

    function stanzaTime(stanza) {
        const [ delay ] = childrenOf(stanza, 'delay');
        const at = delay && siblingsOf(stanza).length === 1 ? Date.parse(delay.getAttribute('stamp')) : NaN;

        return Number.isNaN(at) ? null : at;
    }

    function goodbyesIn(stanza) {
        const found = new Map(); // endpoint id → {text, codes}

        for (const one of siblingsOf(stanza)) {
            if (one.localName === 'presence' && one.getAttribute('type') === 'unavailable') {
                const codes = childrenOf(one, 'x').flatMap(x => childrenOf(x, 'status'))
                    .map(status => Number(status.getAttribute('code')));
                const [ status ] = childrenOf(one, 'status');

                found.set(meetaBot.endpointOf(one.getAttribute('from') ?? ''), {
                    text: status ? meetaBot.safeText(status.textContent) : null,
                    codes
                });
            }
        }

        return found;
    }

    // The focus repeats it with every presence of its own: told is what changed.
    function recordingPresence(outbox) {
        let last = '';

        return (node, endpointId) => guarded(outbox, RECORDING, () => {
            const { failure_reason: error, initiator, recording_mode: mode, session_id: sessionId, status }
                = node?.attributes ?? {};
            const now = JSON.stringify([ sessionId, status, initiator, error ]);

            if (endpointId === FOCUS && sessionId && now !== last) {
                last = now;
                record(outbox, 'presence.recording',
                    [ { session_id: sessionId, status, mode, error, initiator: meetaBot.endpointOf(initiator) } ]);
            }
        });
    }

    // When the bot itself is out of the room, the library first says of everybody that they left, then that the
    // bot did, all within one task. Messages are written at the end of a task: until then, their flag can be raised.
    function ownDeparture() {
        let flags = [];

        return {
            flag() {
                const flag = { with_our_own: false };

                if (flags.push(flag) === 1) {
                    queueMicrotask(() => {
                        flags = [];
                    });
                }

                return flag;
            },
            raise: () => flags.forEach(flag => {
                flag.with_our_own = true;
            })
        };
    }

    // Presence comes whole with every change of any part, element by element: told is what a participant's media
    // elements say at the end of a task, all together, if one of them changed.
    function presenceMemory(outbox) {
        const known = new Map(); // endpoint id → {element: value}
        const changed = new Set();

        function tell() {
            for (const endpointId of changed) {
                if (known.has(endpointId)) {
                    record(outbox, 'presence.media', [ endpointId, known.get(endpointId) ]);
                }
            }
            changed.clear();
        }

        return {
            notice(endpointId, element, value) {
                const elements = known.get(endpointId) ?? {};

                if (elements[element] !== value) {
                    known.set(endpointId, { ...elements, [element]: value });
                    if (changed.size === 0) {
                        queueMicrotask(tell);
                    }
                    changed.add(endpointId);
                }
            },
            forget: endpointId => known.delete(endpointId),

            /** Somebody arrives, maybe again without a departure that was told: what was known before is old. */
            renew: endpointId => changed.has(endpointId) || known.delete(endpointId)
        };
    }
})();
