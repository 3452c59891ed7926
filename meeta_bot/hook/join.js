// The lean join: builds JitsiConnection and JitsiConference from the deployment's own library and configuration,
// without the web application. One page can hold many conferences, each under its own key. What happens is told
// through the outbox; nothing here returns a result that would have to be waited for.
(() => {
    'use strict';

    const meetaBot = globalThis.meetaBot ??= {};
    const pageLoad = globalThis.crypto?.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
    const conferences = new Map(); // key → {connection, conference, outbox}
    let initialized = false;

    meetaBot.pageLoad = pageLoad;

    /** Whether the library and a configuration are here; asked after the page has loaded. */
    meetaBot.look = () => ({
        config: typeof globalThis.config === 'object' && globalThis.config !== null,
        library: typeof globalThis.JitsiMeetJS?.init === 'function',
        now: performance.now()
    });

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
        seat.conference.setDisplayName(request.display_name);
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
        const seat = { connection: null, conference: null, outbox };

        conferences.set(request.conference, seat);
        initialize(library);
        seat.connection = new library.JitsiConnection(null, request.token ?? null, connectionOptions(request.room));
        meetaBot.listenToConnection(library, seat.connection, outbox);
        seat.connection.addEventListener(library.events.connection.CONNECTION_ESTABLISHED, () => {
            // Also fires after a lost connection came back; the conference is there then.
            if (seat.conference === null) {
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

    /**
     * Lets go of a conference that was left. It may still be on its way out; nobody listens to it any more.
     *
     * @param {string} key
     */
    meetaBot.forget = key => {
        conferences.get(key)?.outbox.close();
        conferences.delete(key);
    };

    meetaBot.acknowledge = (key, seq) => conferences.get(key)?.outbox.acknowledge(seq);
    meetaBot.rewind = key => conferences.get(key)?.outbox.rewind();
})();
