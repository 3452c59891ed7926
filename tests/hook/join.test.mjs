// meeta_bot/capture/browser/hook/join.js: how the bot enters and leaves a room by itself.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { library } from './library.mjs';
import { openPage, plain } from './page.mjs';

const CONFIG = {
    hosts: { domain: 'meet.example.org', muc: 'conference.meet.example.org' },
    bosh: '//meet.example.org/http-bind',
    websocket: 'wss://meet.example.org/xmpp-websocket',
    websocketKeepAliveUrl: 'https://meet.example.org/_unlock',
    p2p: { enabled: true, stunServers: [] },
    channelLastN: -1,
    testing: { own: true },
    flags: { sourceNameSignaling: true }
};

const REQUEST = { conference: 'capture-1', room: 'standup', display_name: 'Event recorder', password: null, token: null };

function openRoom({ config = CONFIG, request = {}, more = {} } = {}) {
    const given = library(more);
    const page = openPage({ config, JitsiMeetJS: given });

    page.library = given;
    page.join = (changes = {}) => page.task(() => page.meetaBot.join({ ...REQUEST, ...request, ...changes }, 'meetaDeliver'));
    page.join();
    page.connection = given.made[0];
    page.established = () => page.task(() => page.connection.emit('connection.connectionEstablished', 'id'));
    page.told = () => page.messages().map(({ origin, args }) => [ origin, args ]);

    return page;
}

/** Lets promises run, and what they push leave. */
async function settle(page, promise) {
    await promise;
    await new Promise(resolve => setImmediate(resolve));
    page.endTask();
}

describe('looking at a page', () => {
    it('says whether library and configuration are there', () => {
        assert.deepEqual(plain(openPage().meetaBot.look()), { config: false, library: false });
        const there = openPage({ config: {}, JitsiMeetJS: library() });

        assert.deepEqual(plain(there.meetaBot.look()), { config: true, library: true });
    });

    it('takes nothing else for a configuration', () => {
        assert.equal(openPage({ config: null }).meetaBot.look().config, false);
        assert.equal(openPage({ JitsiMeetJS: {} }).meetaBot.look().library, false);
    });

    it('names a load also where the browser makes no UUIDs', () => {
        assert.match(openPage({ crypto: undefined }).meetaBot.pageLoad, /^\d+-0\.\d+$/);
    });
});

describe('the connection', () => {
    it('uses the websocket with the room in its address, and no BOSH beside it', () => {
        const { options } = openRoom().connection;

        assert.equal(options.serviceUrl, 'wss://meet.example.org/xmpp-websocket?room=standup');
        assert.equal(options.websocketKeepAliveUrl, 'https://meet.example.org/_unlock?room=standup');
        assert.ok(!('bosh' in options));
    });

    it('uses BOSH where there is no websocket, or the deployment prefers it', () => {
        const url = '//meet.example.org/http-bind?room=standup';

        assert.equal(openRoom({ config: { ...CONFIG, websocket: undefined } }).connection.options.serviceUrl, url);
        assert.equal(openRoom({ config: { ...CONFIG, preferBosh: true } }).connection.options.serviceUrl, url);
    });

    it('adds the room to an address that has parameters already', () => {
        const config = { ...CONFIG, websocket: 'wss://meet.example.org/xmpp?shard=1', conferenceRequestUrl: 'https://a/conference-request/v1' };
        const { options } = openRoom({ config }).connection;

        assert.equal(options.serviceUrl, 'wss://meet.example.org/xmpp?shard=1&room=standup');
        assert.equal(options.conferenceRequestUrl, 'https://a/conference-request/v1?room=standup');
    });

    it('leaves out what the deployment does not have', () => {
        const { options } = openRoom({ config: { hosts: {}, bosh: '/http-bind' } }).connection;

        assert.equal(options.websocketKeepAliveUrl, undefined);
        assert.equal(options.conferenceRequestUrl, undefined);
    });

    it('has the deployment\'s flags, sources named by presence, and can be resumed', () => {
        const { options } = openRoom().connection;

        assert.deepEqual(plain(options.flags), { ssrcRewritingEnabled: true, sourceNameSignaling: true });
        assert.equal(options.enableWebsocketResume, true);
        assert.equal(openRoom({ config: { ...CONFIG, enableWebsocketResume: false } }).connection.options.enableWebsocketResume, false);
    });

    it('takes the token, if there is one', () => {
        assert.equal(openRoom().connection.token, null);
        assert.equal(openRoom({ request: { token: 'a.b.c' } }).connection.token, 'a.b.c');
    });

    it('is listened to before it connects', () => {
        const [ [ call, options, listening ] ] = openRoom().connection.calls;

        assert.deepEqual([ call, plain(options) ], [ 'connect', { name: 'standup' } ]);
        assert.ok(listening > 0);
    });

    it('does not change the deployment\'s configuration', () => {
        const page = openRoom();

        assert.deepEqual(plain(page.global.config), CONFIG);
    });
});

describe('the library', () => {
    it('is initialized once for all rooms of a page, without analytics and audio levels', () => {
        const page = openRoom();

        page.join({ conference: 'capture-2', room: 'retro' });
        assert.equal(page.library.inits.length, 1);
        assert.equal(page.library.logLevel, 'error');
        const [ options ] = page.library.inits;

        assert.deepEqual([ options.disableAudioLevels, options.disableThirdPartyRequests, options.enableAnalyticsLogging ],
            [ true, true, false ]);
        assert.deepEqual(options.hosts, CONFIG.hosts);
    });

    it('that is too old to have log levels will do', () => {
        assert.equal(openRoom({ more: { setLogLevel: undefined, logLevels: undefined } }).library.inits.length, 1);
    });
});

describe('the conference', () => {
    it('is made when the connection stands, not before', () => {
        const page = openRoom();

        assert.equal(page.connection.conferences.length, 0);
        page.established();
        assert.equal(page.connection.conferences[0].name, 'standup');
    });

    it('neither sends nor receives media and keeps its statistics to itself', () => {
        const page = openRoom();

        page.established();
        const { options } = page.connection.conferences[0];
        const expected = {
            channelLastN: 0,
            disableLocalStatsBroadcast: true,
            e2eping: { enabled: false },
            enableIceRestart: false,
            enableNoAudioDetection: false,
            enableNoisyMicDetection: false,
            enableTalkWhileMuted: false,
            hiddenFromRecorderFeatureEnabled: true,
            p2p: { enabled: false },
            startLastN: 0,
            startSilent: true
        };

        assert.deepEqual(plain(options), { ...CONFIG, ...expected });
    });

    it('is listened to before it is joined under the bot\'s name', () => {
        const page = openRoom();

        page.established();
        const [ name, , [ call, password, listening ] ] = page.connection.conferences[0].calls;

        assert.deepEqual(name, [ 'setDisplayName', 'Event recorder' ]);
        assert.deepEqual([ call, password ], [ 'join', undefined ]);
        assert.ok(listening > 0);
    });

    it('goes on to hear of its room when the library fails at a stanza', () => {
        const page = openRoom();
        const { JitsiConnection } = page.global.JitsiMeetJS;
        const failing = { onPresenceUnavailable() { throw new TypeError('of no session'); } };

        page.connection.initJitsiConference = (...args) => Object.assign(
            JitsiConnection.prototype.initJitsiConference.apply(page.connection, args), { room: failing });
        page.established();
        assert.equal(page.task(() => failing.onPresenceUnavailable('stanza')), true);
        assert.deepEqual(page.messages().at(-1).args, [ 'library onPresenceUnavailable', 'of no session' ]);
    });

    it('is joined with the password, if there is one', () => {
        const page = openRoom({ request: { password: 'open sesame' } });

        page.established();
        assert.deepEqual(page.connection.conferences[0].calls.at(-1).slice(0, 2), [ 'join', 'open sesame' ]);
        assert.ok(!JSON.stringify(page.delivered).includes('sesame'));
    });

    it('is joined as a bot, of a type that other recorders know', () => {
        const page = openRoom();

        page.established();
        const [ , mark, join ] = page.connection.conferences[0].calls;

        assert.deepEqual(plain(mark), [ 'sendCommand', 'bot', { attributes: { type: 'meeta_bot' } } ]);
        assert.equal(join[0], 'join');
    });

    it('is not made again when a lost connection comes back', () => {
        const page = openRoom();

        page.established();
        page.established();
        assert.equal(page.connection.conferences.length, 1);
        assert.equal(page.connection.conferences[0].calls.filter(([ call ]) => call === 'join').length, 1);
        assert.equal(page.told().filter(([ origin ]) => origin === 'connection.connectionEstablished').length, 2);
    });

    it('that can\'t be made is told and does not reach the library', () => {
        const page = openRoom();

        page.connection.initJitsiConference = () => {
            throw new Error('invalid room name');
        };
        assert.doesNotThrow(page.established);
        assert.deepEqual(page.told().at(-1), [ 'hook.join_failed', [ 'invalid room name' ] ]);
    });

    it('that can\'t be joined is told', () => {
        const page = openRoom();
        const init = page.connection.initJitsiConference.bind(page.connection);

        page.connection.initJitsiConference = (...args) => Object.assign(init(...args), {
            join() {
                throw Object.create(null);
            }
        });
        page.established();
        assert.deepEqual(page.told().at(-1), [ 'hook.join_failed', [ 'an error that can\'t be read' ] ]);
    });

    it('has its own messages and acknowledgements beside others in the page', () => {
        const page = openRoom();

        page.join({ conference: 'capture-2', room: 'retro' });
        page.established();
        page.task(() => page.library.made[1].emit('connection.connectionEstablished', 'id'));
        assert.deepEqual([ ...new Set(page.delivered.map(batch => batch.conference)) ], [ 'capture-1', 'capture-2' ]);
        page.delivered.length = 0;
        page.task(() => page.meetaBot.acknowledge('capture-1', 99));
        page.task(() => page.meetaBot.rewind('capture-1'));
        assert.deepEqual(page.delivered, []);
        page.task(() => page.meetaBot.rewind('capture-2'));
        assert.deepEqual(page.delivered.map(batch => batch.conference), [ 'capture-2' ]);
    });
});

describe('leaving', () => {
    const lastOrigins = page => page.told().map(([ origin ]) => origin).slice(-2);

    it('is told before and after, and leaves the room, then the connection', async () => {
        const page = openRoom();

        page.established();
        await settle(page, page.meetaBot.leave('capture-1'));
        assert.deepEqual(lastOrigins(page), [ 'hook.leaving', 'hook.left' ]);
        assert.deepEqual(page.connection.conferences[0].calls.at(-1), [ 'leave' ]);
        assert.deepEqual(page.connection.calls.at(-1), [ 'disconnect' ]);
    });

    for (const [ how, fail ] of [
        [ 'throws', () => { throw new Error('gone'); } ], [ 'rejects', () => Promise.reject(new Error('gone')) ]
    ]) {
        it(`is told also when the library ${how}, and the connection is closed`, async () => {
            const page = openRoom();

            page.established();
            page.connection.conferences[0].leave = fail;
            await settle(page, page.meetaBot.leave('capture-1'));
            assert.deepEqual(lastOrigins(page), [ 'hook.leaving', 'hook.left' ]);
            assert.deepEqual(page.connection.calls.at(-1), [ 'disconnect' ]);
        });

        it(`is told also when the connection ${how}`, async () => {
            const page = openRoom();

            page.connection.disconnect = fail;
            await settle(page, page.meetaBot.leave('capture-1'));
            assert.deepEqual(lastOrigins(page), [ 'hook.leaving', 'hook.left' ]);
        });
    }

    it('a room that was never entered only closes the connection', async () => {
        const page = openRoom();

        await settle(page, page.meetaBot.leave('capture-1'));
        assert.deepEqual(page.connection.calls.at(-1), [ 'disconnect' ]);
    });

    it('a room that nobody knows is no error', async () => {
        const page = openRoom();
        const before = page.delivered.length;

        await settle(page, page.meetaBot.leave('another'));
        assert.equal(page.delivered.length, before);
    });
});

describe('forgetting', () => {
    const calls = page => [
        ...page.connection.conferences.flatMap(conference => conference.calls), ...page.connection.calls
    ].map(([ call ]) => call).filter(call => call === 'leave' || call === 'disconnect');

    it('leaves a room that was lost and closes its connection, waiting for no answer', () => {
        const page = openRoom();

        page.established();
        const conference = page.connection.conferences[0];

        conference.leave = () => {
            conference.calls.push([ 'leave' ]);

            return new Promise(() => undefined);
        };
        page.task(() => page.meetaBot.forget('capture-1'));
        assert.deepEqual(calls(page), [ 'leave', 'disconnect' ]);
    });

    for (const [ how, fail ] of [
        [ 'throws', () => { throw new Error('gone'); } ], [ 'rejects', () => Promise.reject(new Error('gone')) ]
    ]) {
        it(`is quiet and goes on when the library ${how}`, async () => {
            const page = openRoom();

            page.established();
            page.connection.conferences[0].leave = fail;
            page.task(() => page.meetaBot.forget('capture-1'));
            await settle(page); // an unhandled rejection would fail the test
            assert.deepEqual(calls(page), [ 'disconnect' ]);
        });

        it(`is quiet when the connection ${how}, and tells nothing of it`, async () => {
            const page = openRoom();

            page.established();
            const before = page.delivered.length;

            page.connection.disconnect = fail;
            page.task(() => page.meetaBot.forget('capture-1'));
            await settle(page);
            assert.deepEqual(calls(page), [ 'leave' ]);
            page.advance(60_000);
            assert.equal(page.delivered.length, before);
        });
    }

    it('does not leave twice, and ends the waiting for an answer', () => {
        const page = openRoom();

        page.established();
        const conference = page.connection.conferences[0];

        conference.leave = () => {
            conference.calls.push([ 'leave' ]);

            return new Promise(() => undefined);
        };
        page.meetaBot.leave('capture-1');
        assert.deepEqual(calls(page), [ 'leave' ]);
        page.task(() => page.meetaBot.forget('capture-1'));
        assert.deepEqual(calls(page), [ 'leave', 'disconnect' ]);
    });

    it('keeps a connection that stands only afterwards from entering the room', async () => {
        const page = openRoom();

        page.task(() => page.meetaBot.forget('capture-1'));
        page.established();
        assert.equal(page.connection.conferences.length, 0);
        page.join({ conference: 'capture-1.2' });
        await settle(page, page.meetaBot.leave('capture-1.2'));
        page.task(() => page.library.made[1].emit('connection.connectionEstablished', 'id'));
        assert.equal(page.library.made[1].conferences.length, 0);
    });

    it('one stay does not disturb the next of the same capture', () => {
        const page = openRoom();

        page.established();
        page.join({ conference: 'capture-1.2' });
        page.task(() => page.meetaBot.forget('capture-1'));
        page.task(() => page.library.made[1].emit('connection.connectionEstablished', 'id'));
        const [ conference ] = page.library.made[1].conferences;

        assert.deepEqual(conference.calls.at(-1)[0], 'join');
        page.delivered.length = 0;
        page.task(() => page.connection.conferences[0].emit('conference.left'));
        page.task(() => conference.emit('conference.joined'));
        assert.deepEqual(page.told().map(([ origin ]) => origin), [ 'conference.joined' ]);
        assert.equal(page.delivered[0].conference, 'capture-1.2');
    });

    it('ends what a room says, sends again and keeps, and no other room\'s', () => {
        const page = openRoom();

        page.join({ conference: 'capture-2', room: 'retro' });
        page.established();
        page.task(() => page.meetaBot.forget('capture-1'));
        const before = page.delivered.length;

        page.library.made.forEach(connection => page.task(() => connection.emit('connection.connectionFailed', 'otherError')));
        page.task(() => page.meetaBot.rewind('capture-1'));
        page.advance(60_000);
        assert.deepEqual([ ...new Set(page.delivered.slice(before).map(batch => batch.conference)) ], [ 'capture-2' ]);
    });

    it('a room that nobody knows is no error', () => {
        openRoom().meetaBot.forget('another');
    });
});

describe('knocking', () => {
    it('asks with the bot\'s name', async () => {
        const page = openRoom();

        page.established();
        page.meetaBot.knock('capture-1', 'Event recorder');
        await settle(page);
        assert.deepEqual(page.connection.conferences[0].calls.at(-1), [ 'joinLobby', 'Event recorder' ]);
    });

    for (const [ how, fail ] of [
        [ 'throws', () => { throw new Error('no lobby'); } ], [ 'rejects', () => Promise.reject(new Error('no lobby')) ]
    ]) {
        it(`is told as an error when the library ${how}`, async () => {
            const page = openRoom();

            page.established();
            page.connection.conferences[0].joinLobby = fail;
            page.meetaBot.knock('capture-1', 'Event recorder');
            await settle(page);
            assert.deepEqual(page.told().at(-1), [ 'hook.error', [ 'joinLobby', 'no lobby' ] ]);
        });
    }

    it('at a room that nobody knows is no error', async () => {
        const page = openRoom();

        assert.doesNotThrow(() => page.meetaBot.knock('another', 'x'));
        await settle(page);
    });
});

describe('override', () => {
    it('sets values of the configuration, at any depth, for connection and conference', () => {
        const config = { ...CONFIG, bridgeChannel: { preferSctp: true, own: 1 } };
        const page = openPage({ config, JitsiMeetJS: library() });

        page.meetaBot.override('preferBosh', true);
        page.meetaBot.override('bridgeChannel.preferSctp', false);
        page.meetaBot.override('websocket.deep.er', 1);
        assert.deepEqual(plain(config.bridgeChannel), { preferSctp: false, own: 1 });
        assert.deepEqual(plain(config.websocket), { deep: { er: 1 } });
        assert.equal(plain(page.meetaBot.connectionOptions('standup')).serviceUrl, `${CONFIG.bosh}?room=standup`);
    });

    it('reaches nothing but the configuration', () => {
        const config = { ...CONFIG };
        const page = openPage({ config, JitsiMeetJS: library() });

        page.meetaBot.override('bridgeChannel.__proto__.polluted', true);
        page.meetaBot.override('__proto__.polluted', true);
        assert.equal({}.polluted, undefined);
        assert.equal(Object.getPrototypeOf(config).polluted, undefined);
    });
});
