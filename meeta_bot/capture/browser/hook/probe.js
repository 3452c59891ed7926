// For `meeta-bot doctor`: what a deployment's page says of itself, and a login without entering a room. The login has
// the options of the lean join (join.js). No conference is made and none is asked for, so no meeting notices.
(() => {
    'use strict';

    const meetaBot = globalThis.meetaBot ??= {};
    const LONGEST_TEXT = 500;
    const CONFIG_SCRIPT = /(^|[/.-])config([.-][\w.-]*)?\.js$/;
    const LIBRARY_SCRIPT = /(^|[/.-])lib-jitsi-meet([.-][\w.-]*)?\.js$/;

    const probe = meetaBot.probe = {};

    /** Addresses without what follows a question mark: there tokens may be. */
    const bare = address => String(address ?? '').split(/[?#]/)[0].slice(0, LONGEST_TEXT);

    /** A value of the configuration: texts are cut, of objects only that they are there. */
    function told(value) {
        if (typeof value === 'string') {
            return value.slice(0, LONGEST_TEXT);
        }
        if (typeof value === 'boolean' || Number.isFinite(value)) {
            return value;
        }

        return value === undefined || value === null ? null : true;
    }

    const read = path => told(path.split('.').reduce((value, key) => value?.[key], globalThis.config));

    const script = pattern => {
        const sources = Array.from(globalThis.document?.scripts ?? [], one => bare(one.src));

        return sources.find(source => pattern.test(source)) ?? null;
    };

    /**
     * What the page has. Only the values asked for leave it: configurations hold secrets.
     *
     * @param {string[]} paths - Keys of the configuration, such as `p2p.enabled`.
     */
    probe.look = paths => {
        const library = globalThis.JitsiMeetJS;

        return {
            config: Object.fromEntries(paths.map(path => [ path, read(path) ])),
            config_script: script(CONFIG_SCRIPT),
            library_script: script(LIBRARY_SCRIPT),
            library_version: library?.version === undefined ? null : String(library.version).slice(0, LONGEST_TEXT),
            conference_events: Object.values(library?.events?.conference ?? {})
                .filter(value => typeof value === 'string')
        };
    };

    /** The types of the services that the server announces to those who are logged in; null if it does not answer. */
    async function announced(connection) {
        try {
            const { identities } = await connection.xmpp.caps.getFeaturesAndIdentities(connection.options.hosts.domain);

            return Array.from(identities, identity => String(identity.type)).sort();
        } catch {
            return null;
        }
    }

    async function goodbye(connection) {
        try {
            await connection.disconnect();
        } catch {
            // The connection is gone already, which was wanted.
        }
    }

    /**
     * Logs in, and out again.
     *
     * @param {string} room - For the address only, which deployments route by.
     * @param {?string} token
     * @returns {Promise<{service: string, milliseconds: number, error: ?string, message: ?string,
     *     announced: ?string[]}>} settled when the server has answered; the caller has a deadline.
     */
    probe.connect = (room, token) => new Promise(resolve => {
        const library = globalThis.JitsiMeetJS;
        const events = library.events.connection;
        const began = performance.now();
        const options = meetaBot.connectionOptions(room);

        meetaBot.initialize(library);
        const connection = new library.JitsiConnection(null, token ?? null, options);
        let stood = false;
        const answer = (error, message) => ({
            service: bare(options.serviceUrl),
            milliseconds: Math.round(performance.now() - began),
            error,
            message: message === undefined || message === null ? null : String(message).slice(0, LONGEST_TEXT),
            announced: null
        });

        connection.addEventListener(events.CONNECTION_ESTABLISHED, async () => {
            const established = answer(null, null);

            stood = true;
            established.announced = await announced(connection);
            await goodbye(connection);
            resolve(established);
        });
        connection.addEventListener(events.CONNECTION_FAILED, (error, message) => resolve(answer(String(error), message)));
        connection.addEventListener(events.CONNECTION_DISCONNECTED,
            message => stood || resolve(answer('connection.disconnected', message))); // else we are the ones who left

        // Without the room's name: with it, libraries since 2022 ask the focus for the conference before they connect.
        connection.connect({});
    });
})();
