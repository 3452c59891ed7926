// Makes the arguments of lib-jitsi-meet's events JSON-safe: copies scalars, knows the library's own objects by
// their methods, bounds everything, hides what looks secret, never throws, never touches a live object again.
(() => {
    'use strict';

    const meetaBot = globalThis.meetaBot ??= {};

    // Each bound keeps one hostile argument from costing the room its other events.
    const LIMITS = { depth: 8, keys: 500, items: 2000, nodes: 20000 };
    const HIDDEN = '[hidden]';

    // Names of fields whose values never leave the page: login data, TURN credentials, room and end-to-end keys.
    const SECRET = /password|passwd|secret|token|jwt|credential|roomkey|ufrag|^pwd$|^pin$|^sas$|olm|privatekey/i;

    // Features of a participant that say what kind of client it is.
    const FEATURES = [
        'http://jitsi.org/protocol/jigasi',
        'http://jitsi.org/protocol/jibri',
        'http://jitsi.org/protocol/transcriber'
    ];

    /**
     * Text that every consumer can hold: well-formed UTF-16, no NUL, no longer than the limit.
     *
     * @param {string} text
     * @returns {string}
     */
    function safeText(text) {
        const limit = meetaBot.limits?.text ?? 1048576;
        let safe = text;

        if (safe.length > limit) {
            safe = `${safe.slice(0, limit)}…[${text.length - limit} characters cut]`;
        }
        safe = safe.toWellFormed();

        return safe.includes('\u0000') ? safe.replaceAll('\u0000', '\uFFFD') : safe;
    }

    /** What an error says, whatever was thrown: its message can be missing, no text, or throw when it is read. */
    function problemText(error) {
        try {
            return safeText(String(error?.message ?? error));
        } catch {
            return 'an error that can\'t be read';
        }
    }

    /** The value of `object[method]()`, or undefined where the method is missing or throws. */
    function ask(object, method, ...args) {
        try {
            return typeof object[method] === 'function' ? object[method](...args) : undefined;
        } catch {
            return undefined;
        }
    }

    const has = (object, ...methods) => methods.every(method => typeof object[method] === 'function');

    // What the library hands out, by shape, since constructors' names are minified: [test, copy].
    const KNOWN = [
        [ o => has(o, 'getParticipantId', 'getType', 'isMuted'), track ],
        [ o => has(o, 'getId', 'getRole', 'getJid'), participant ],
        [ o => has(o, 'getID', 'getStatus', 'getMode'), recorderSession ],
        [ o => has(o, 'myUserId', 'join', 'leave'), () => ({ $: 'conference' }) ],
        [ o => has(o, 'initJitsiConference', 'connect'), () => ({ $: 'connection' }) ],
        [ o => typeof o.nodeType === 'number', o => ({ $: 'xml', name: String(o.nodeName) }) ],
        [ o => o instanceof Error, o => plain({ $: 'error', name: o.name, message: problemText(o) }) ],
        [ o => o instanceof Date, o => o.getTime() ],
        [ o => ArrayBuffer.isView(o) || o instanceof ArrayBuffer, o => ({ $: 'bytes', length: o.byteLength }) ]
    ];

    function track(it) {
        return plain({
            $: 'track',
            endpoint_id: ask(it, 'getParticipantId'),
            local: ask(it, 'isLocal'),
            media_type: ask(it, 'getType'),
            muted: ask(it, 'isMuted'),
            source_name: ask(it, 'getSourceName'),
            video_type: ask(it, 'getVideoType') ?? it.videoType
        });
    }

    function participant(it) {
        const identity = ask(it, 'getIdentity') ?? it._identity;

        return plain({
            $: 'participant',
            id: ask(it, 'getId'),
            name: ask(it, 'getDisplayName'),
            role: ask(it, 'getRole'),
            hidden: Boolean(ask(it, 'isHidden')),
            bot_type: ask(it, 'getBotType'),
            stats_id: ask(it, 'getStatsID'),
            user_id: identity?.user?.id,
            is_replacing: Boolean(ask(it, 'isReplacing')), // a number in 2021
            is_replaced: Boolean(ask(it, 'isReplaced')),
            features: FEATURES.filter(feature => ask(it, 'hasFeature', feature) === true)
        });
    }

    function recorderSession(it) {
        return plain({
            $: 'recorder_session',
            id: ask(it, 'getID'),
            status: ask(it, 'getStatus'),
            mode: ask(it, 'getMode'),
            error: ask(it, 'getError'),
            initiator: endpointOf(ask(it, 'getInitiator')),
            terminator: endpointOf(ask(it, 'getTerminator'))
        });
    }

    /** The endpoint id of a participant, or of an occupant's address `room@muc/endpoint`. */
    function endpointOf(who) {
        if (typeof who === 'string') {
            return who.includes('/') ? who.slice(who.lastIndexOf('/') + 1) : who;
        }

        return who ? ask(who, 'getId') : undefined;
    }

    /** A copy of scalars and our own lists; undefined values are gone, and other objects are null. */
    function plain(record) {
        const copy = {};

        for (const [ name, value ] of Object.entries(record)) {
            if (value !== undefined && typeof value !== 'function') {
                copy[name] = Array.isArray(value) ? value : scalar(value);
            }
        }

        return copy;
    }

    function scalar(value) {
        switch (typeof value) {
        case 'string':
            return safeText(value);
        case 'number':
            return Number.isFinite(value) ? value : String(value);
        case 'boolean':
            return value;
        case 'bigint':
            return String(value);
        default:
            return null;
        }
    }

    /** Whether an object is data. All else is part of the library's machinery: from there one gets to everything. */
    function isData(value) {
        const prototype = Object.getPrototypeOf(value);

        return prototype === null || Object.getPrototypeOf(prototype) === null;
    }

    const scalarsOf = value => Object.entries(value).filter(([ , item ]) => item === null || typeof item !== 'object');

    function copyEntries(entries, depth, budget) {
        const copy = {};
        let keys = 0;

        for (const [ key, item ] of entries) {
            if (typeof item === 'function' || item === undefined || String(key).startsWith('_')) {
                continue;
            }
            if (++keys > LIMITS.keys || budget.nodes <= 0) {
                copy['…'] = 'cut';
                break;
            }
            const name = safeText(String(key));

            copy[name] = SECRET.test(name) ? HIDDEN : copyOf(item, depth + 1, budget);
        }

        return copy;
    }

    function copyItems(items, depth, budget) {
        const copy = [];

        for (const item of items) {
            if (copy.length >= LIMITS.items || budget.nodes <= 0) {
                copy.push('…');
                break;
            }
            copy.push(copyOf(item, depth + 1, budget));
        }

        return copy;
    }

    function copyOf(value, depth, budget) {
        budget.nodes -= typeof value === 'string' ? 1 + (value.length >> 10) : 1; // long texts count by their KiB
        if (value === null || typeof value !== 'object') {
            return scalar(value);
        }
        try {
            for (const [ test, copy ] of KNOWN) {
                if (test(value)) {
                    return copy(value);
                }
            }
            if (depth >= LIMITS.depth) {
                return '…';
            }
            if (Array.isArray(value) || value instanceof Set) {
                return copyItems(value, depth, budget);
            }
            if (value instanceof Map) {
                return copyEntries(value.entries(), depth, budget);
            }
            if (isData(value)) {
                return copyEntries(Object.entries(value), depth, budget);
            }

            return { $: 'object', ...copyEntries(scalarsOf(value), depth, budget) };
        } catch (error) {
            return { $: 'unreadable', message: problemText(error) };
        }
    }

    /**
     * JSON-safe copies of an event's arguments.
     *
     * @param {Iterable<unknown>} args
     * @returns {Array<unknown>}
     */
    meetaBot.serialize = args => copyItems(args, 0, { nodes: LIMITS.nodes });
    meetaBot.safeText = safeText;
    meetaBot.problemText = problemText;
    meetaBot.endpointOf = endpointOf;
})();
