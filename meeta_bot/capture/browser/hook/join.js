// The lean join: builds JitsiConnection and JitsiConference from the deployment's own library and configuration,
// without the web application. One page can hold many conferences, each under its own key. What happens is told
// through the outbox; nothing here returns a result that would have to be waited for.
(() => {
    'use strict';

    const meetaBot = globalThis.meetaBot ??= {};
    const pageLoad = globalThis.crypto?.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
    const conferences = new Map(); // key → {connection, conference, outbox, watch, leaving}
    const OUR_KIND = 'meeta_bot';
    let initialized = false;

    meetaBot.pageLoad = pageLoad;

    /**
     * Sets a value of the deployment's configuration, as the web application does for what a link carries.
     *
     * @param {string} name - Dotted: `bridgeChannel.preferSctp`.
     */
    meetaBot.override = (name, value) => {
        const path = name.split('.');
        const last = path.pop();
        let target = globalThis.config ??= {};

        for (const part of path) {
            if (!Object.hasOwn(target, part) || typeof target[part] !== 'object' || target[part] === null) {
                Object.defineProperty(target, part, { configurable: true, enumerable: true, value: {}, writable: true });
            }
            target = target[part];
        }
        Object.defineProperty(target, last, { configurable: true, enumerable: true, value, writable: true });
    };

    /** Whether the library and a configuration are here; asked after the page has loaded. */
    meetaBot.look = () => ({
        config: typeof globalThis.config === 'object' && globalThis.config !== null,
        library: typeof globalThis.JitsiMeetJS?.init === 'function'
    });

    /**
     * Begins to give signs of life (watch.js). Call it once.
     *
     * @param {string} binding - Name of the function that takes them.
     */
    meetaBot.live = binding => meetaBot.keepWatch(conferences, pageLoad, text => globalThis[binding](text));

    function initialize(library) {
        if (!initialized) {
            library.setLogLevel?.(library.logLevels?.ERROR ?? 'error');
            library.init({
                ...globalThis.config,
                disableAudioLevels: true,
                disableThirdPartyRequests: true,
                enableAnalyticsLogging: false
            });
            initialized = true;
        }
    }

    const withRoom = (url, room) => url && `${url}${url.includes('?') ? '&' : '?'}room=${room}`;

    /** Options of the connection, as the web application makes them from the deployment's configuration. */
    function connectionOptions(room) {
        const options = { ...globalThis.config };
        const service = options.websocket && !options.preferBosh ? options.websocket : options.bosh;

        options.serviceUrl = withRoom(service, room);
        options.websocketKeepAliveUrl = withRoom(options.websocketKeepAliveUrl, room);
        options.conferenceRequestUrl = withRoom(options.conferenceRequestUrl, room);
        options.enableWebsocketResume ??= true;
        // Remote sources are then named by presence, and the bridge sends fewer of them.
        options.flags = { ssrcRewritingEnabled: true, ...options.flags };
        delete options.bosh; // newer libraries refuse both

        return options;
    }

    Object.assign(meetaBot, { initialize, connectionOptions }); // the probe (probe.js) logs in with the same

    /** Options of the conference: seen by all, heard and seeing nothing, telling nobody its statistics. */
    function conferenceOptions() {
        return {
            ...globalThis.config,
            channelLastN: 0,
            disableLocalStatsBroadcast: true,
            e2eping: { enabled: false },
            enableNoAudioDetection: false,
            // Libraries of 2021 would tell the focus that ICE failed, which costs the media session for good (revive.js).
            enableIceRestart: false,
            enableNoisyMicDetection: false,
            enableTalkWhileMuted: false,
            hiddenFromRecorderFeatureEnabled: true,
            p2p: { enabled: false },
            startLastN: 0,
            startSilent: true
        };
    }

    function enterConference(seat, library, request) {
        seat.conference = seat.connection.initJitsiConference(request.room, conferenceOptions());
        meetaBot.listenToConference(library, seat.conference, seat.outbox);
        seat.watch.enter(seat.conference);
        keepListening(seat);
        tellEntering(seat);
        meetaBot.tellRefusals(seat.connection, seat.conference, seat.outbox);
        seat.conference.setDisplayName(request.display_name);
        // Both old and new libraries show it to the others as the type of a bot. Recorders recognize each other by it:
        // else two of them would keep each other in a room for ever.
        seat.conference.sendCommand?.('bot', { attributes: { type: OUR_KIND } });
        seat.conference.join(request.password ?? undefined);
    }

    /**
     * Joins a room.
     *
     * @param {{conference: string, room: string, display_name: string, password: ?string, token: ?string}} request
     * @param {string} binding - Name of the function that takes batches.
     */
    meetaBot.join = (request, binding) => {
        const library = globalThis.JitsiMeetJS;
        const outbox = new meetaBot.Outbox(request.conference, pageLoad, batch => globalThis[binding](batch));
        const seat = { connection: null, conference: null, outbox, watch: null, leaving: false };
        const { CONNECTION_ESTABLISHED, CONNECTION_FAILED } = library.events.connection;

        initialize(library);
        seat.connection = new library.JitsiConnection(null, request.token ?? null, connectionOptions(request.room));
        seat.watch = new meetaBot.Watch(seat.connection, outbox);
        conferences.set(request.conference, seat);
        // Before the others: that the connection is lost is told before what the library makes of it.
        seat.connection.addEventListener(CONNECTION_ESTABLISHED, () => seat.watch.established());
        seat.connection.addEventListener(CONNECTION_FAILED, () => seat.watch.failed());
        meetaBot.listenToConnection(library, seat.connection, outbox);
        seat.connection.addEventListener(CONNECTION_ESTABLISHED, () => {
            // Also fires after a lost connection came back, the conference is there then; and maybe after we left.
            if (seat.conference === null && !seat.leaving) {
                try {
                    enterConference(seat, library, request);
                } catch (error) {
                    outbox.push('hook.join_failed', [ meetaBot.problemText(error) ]);
                }
            }
        });
        seat.connection.connect({ name: request.room });
    };

    /**
     * Leaves a room and closes its connection. What was seen until now stays in the outbox until acknowledged.
     *
     * @param {string} key
     * @returns {Promise<void>} settled when the room confirmed, or the library gave up.
     */
    meetaBot.leave = async key => {
        const seat = conferences.get(key);

        if (!seat) {
            return;
        }
        seat.leaving = true;
        seat.watch.stop();
        seat.outbox.push('hook.leaving', []);
        try {
            await seat.conference?.leave();
        } catch {
            // The room is gone already, or does not answer: gone is what was wanted.
        }
        try {
            await seat.connection?.disconnect();
        } catch {
            // The same.
        }
        seat.outbox.push('hook.left', []);
    };

    /**
     * Asks once more to be let in, after a server said no for now. Both generations of the library send the conference
     * request anew, and then the presence.
     *
     * @param {string} key
     * @param {?string} password
     */
    meetaBot.joinAgain = (key, password) => {
        const seat = conferences.get(key);

        if (seat && !seat.leaving) {
            try {
                seat.conference?.join(password ?? undefined);
            } catch (error) {
                seat.outbox.push('hook.error', [ 'joinAgain', meetaBot.problemText(error) ]);
            }
        }
    };

    /**
     * Keeps the library listening when it fails at a stanza of the room. Strophe drops a handler that throws, and then
     * nothing of that kind is heard any more: one build of 2021 fails when the focus leaves, and after that hears of no
     * departure.
     */
    function keepListening(seat) {
        const room = seat.conference.room;

        for (const name of [ 'onMessage', 'onPresence', 'onPresenceError', 'onPresenceUnavailable' ]) {
            const handle = room?.[name];

            if (typeof handle === 'function') {
                room[name] = function handled(...args) {
                    try {
                        return handle.apply(this, args);
                    } catch (error) {
                        seat.outbox.push('hook.error', [ `library ${name}`, meetaBot.problemText(error) ]);

                        return true;
                    }
                };
            }
        }
    }

    /** Tells when the room is asked to let the bot in: with the first presence, after the focus said yes. */
    function tellEntering(seat) {
        const room = seat.conference.room;
        const send = room?.sendPresence;

        if (typeof send === 'function') {
            room.sendPresence = function sendPresence(isJoin, ...more) {
                if (isJoin === true) {
                    seat.outbox.push('hook.entering', []);
                }

                return send.call(this, isJoin, ...more);
            };
        }
    }

    /**
     * Asks to be let in by a moderator, after "members only". Admission and refusal come as events.
     *
     * @param {string} key
     * @param {string} displayName
     */
    meetaBot.knock = (key, displayName) => {
        const seat = conferences.get(key);

        Promise.resolve().then(() => seat?.conference?.joinLobby(displayName)).catch(
            error => seat.outbox.push('hook.error', [ 'joinLobby', meetaBot.problemText(error) ]));
    };

    /** Says goodbye where somebody may not answer any more: all of it at once, waiting for nothing. */
    function abandon({ connection, conference, leaving }) {
        const goodbyes = [ () => connection.disconnect() ]; // ends waiting for the room to confirm, too

        if (!leaving) {
            goodbyes.unshift(() => conference?.leave());
        }
        for (const goodbye of goodbyes) {
            try {
                Promise.resolve(goodbye()).catch(() => undefined);
            } catch {
                // Gone already, which was wanted.
            }
        }
    }

    /**
     * Lets go of a conference, left or lost. It may still be on its way out; nobody listens to it any more.
     *
     * @param {string} key
     */
    meetaBot.forget = key => {
        const seat = conferences.get(key);

        if (seat) {
            conferences.delete(key);
            seat.watch.stop();
            seat.outbox.close();
            abandon(seat);
            seat.leaving = true;
        }
    };

    meetaBot.acknowledge = (key, seq) => conferences.get(key)?.outbox.acknowledge(seq);
    meetaBot.rewind = key => conferences.get(key)?.outbox.rewind();
})();
