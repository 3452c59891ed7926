// meeta_bot/capture/browser/hook/probe.js: what `meeta-bot doctor` learns from a page, and that it enters no room for that.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';

import { library } from './library.mjs';
import { openPage, plain } from './page.mjs';

const PROBE = readFileSync(new URL('../../meeta_bot/capture/browser/hook/probe.js', import.meta.url), 'utf8');
const CONFIG = {
    hosts: { domain: 'meet.example.org', muc: 'conference.meet.example.org' },
    websocket: 'wss://meet.example.org/xmpp-websocket',
    bosh: '/http-bind',
    conferenceRequestUrl: 'https://meet.example.org/conference-request/v1',
    callStatsSecret: 'hush',
    p2p: { enabled: false }
};

function open({ config = CONFIG, scripts = [], more = {}, ...globals } = {}) {
    const given = library(more);
    const page = openPage({ config, JitsiMeetJS: given, document: { scripts: scripts.map(src => ({ src })) }, ...globals });

    page.evaluate(PROBE);
    page.library = given;
    page.probe = page.meetaBot.probe;

    return page;
}

/** A login under way: its promise, and the connection that the library was asked for. */
function connecting(page, token = null) {
    const answer = page.probe.connect('standup', token);
    const connection = page.library.made[0];

    return { answer, connection };
}

const services = (...types) => ({ caps: { getFeaturesAndIdentities: async () => ({ identities: new Set(types.map(type => ({ type }))) }) } });

describe('looking', () => {
    it('takes the values that it is asked for, and no others', () => {
        const seen = open().probe.look([ 'hosts.domain', 'p2p.enabled', 'p2p', 'no.such.key', 'websocket' ]);

        assert.deepEqual(plain(seen.config), {
            'hosts.domain': 'meet.example.org', 'p2p.enabled': false, 'p2p': true, 'no.such.key': null, 'websocket': CONFIG.websocket
        });
        assert.ok(!JSON.stringify(seen).includes('hush'));
    });

    it('cuts long texts, and takes no value that JSON has not', () => {
        const { config } = open({ config: { a: 'x'.repeat(1000), b: NaN, c: () => 1, d: 10n ** 20n, e: 0 } }).probe.look([ 'a', 'b', 'c', 'd', 'e' ]);

        assert.equal(config.a.length, 500);
        assert.deepEqual(plain([ config.b, config.c, config.d, config.e ]), [ true, true, true, 0 ]);
    });

    it('tells the scripts of configuration and library without what follows the question mark', () => {
        const scripts = [ '', 'https://h/libs/app.bundle.min.js', 'https://h/config.js?v=1&token=hush', 'https://h/libs/lib-jitsi-meet.min.js?v=2' ];
        const seen = open({ scripts }).probe.look([]);

        assert.equal(seen.config_script, 'https://h/config.js');
        assert.equal(seen.library_script, 'https://h/libs/lib-jitsi-meet.min.js');
    });

    it('does not take other configurations for it', () => {
        assert.equal(open({ scripts: [ 'https://h/interface_config.js', 'https://h/logging_config.js' ] }).probe.look([]).config_script, null);
    });

    it('tells the library\'s version and the events that it can emit', () => {
        const seen = open().probe.look([]);

        assert.equal(seen.library_version, '1.0.2030');
        assert.ok(seen.conference_events.includes('conference.userJoined'));
        assert.ok(!seen.conference_events.includes(42));
        assert.equal(open({ more: { version: undefined } }).probe.look([]).library_version, null);
    });

    it('finds nothing in an empty page', () => {
        const page = openPage();

        page.evaluate(PROBE);
        assert.deepEqual(plain(page.meetaBot.probe.look([ 'a.b' ])), {
            config: { 'a.b': null }, config_script: null, library_script: null, library_version: null, conference_events: []
        });
    });
});

describe('logging in', () => {
    it('has the options of the lean join and the token', () => {
        const { connection } = connecting(open(), 'a.b.c');

        assert.equal(connection.options.serviceUrl, 'wss://meet.example.org/xmpp-websocket?room=standup');
        assert.ok(!('bosh' in connection.options));
        assert.equal(connection.token, 'a.b.c');
    });

    it('asks for no conference: the room is not named, and none is made', async () => {
        const { answer, connection } = connecting(open());

        connection.xmpp = services();
        connection.emit('connection.connectionEstablished', 'id');
        await answer;
        assert.deepEqual(plain(connection.calls.map(([ call, options ]) => [ call, options ?? null ])), [ [ 'connect', {} ], [ 'disconnect', null ] ]);
        assert.equal(connection.conferences.length, 0);
    });

    it('tells where, how long, and what the server announces, and is gone by then', async () => {
        const page = open();
        const { answer, connection } = connecting(page);

        connection.xmpp = services('lobbyrooms', 'breakout_rooms');
        page.now += 120.4;
        connection.emit('connection.connectionEstablished', 'id');
        assert.deepEqual(plain(await answer), {
            service: 'wss://meet.example.org/xmpp-websocket', milliseconds: 120, error: null, message: null,
            announced: [ 'breakout_rooms', 'lobbyrooms' ]
        });
        assert.deepEqual(connection.calls.at(-1), [ 'disconnect' ]);
    });

    it('is no failure because saying goodbye ends the connection, or fails', async () => {
        for (const disconnect of [ () => { throw new Error('gone'); }, () => Promise.reject(new Error('gone')) ]) {
            const { answer, connection } = connecting(open());

            connection.disconnect = () => {
                connection.emit('connection.connectionDisconnected', 'bye');

                return disconnect();
            };
            connection.emit('connection.connectionEstablished', 'id');
            assert.equal((await answer).error, null);
        }
    });

    it('does without the services where the library is another or the server does not answer', async () => {
        for (const xmpp of [ undefined, {}, { caps: { getFeaturesAndIdentities: () => Promise.reject(new Error('timeout')) } } ]) {
            const { answer, connection } = connecting(open());

            connection.xmpp = xmpp;
            connection.emit('connection.connectionEstablished', 'id');
            assert.equal((await answer).announced, null);
        }
    });

    it('tells why it failed', async () => {
        const { answer, connection } = connecting(open());

        connection.emit('connection.connectionFailed', 'connection.passwordRequired', 'not-allowed', { password: 'hush' });
        const { error, message } = await answer;

        assert.deepEqual([ error, message ], [ 'connection.passwordRequired', 'not-allowed' ]);
        assert.ok(!JSON.stringify(await answer).includes('hush'));
    });

    it('tells a connection that closed before it stood', async () => {
        const { answer, connection } = connecting(open());

        connection.emit('connection.connectionDisconnected');
        assert.deepEqual([ (await answer).error, (await answer).message ], [ 'connection.disconnected', null ]);
    });

    it('rejects when the library throws', async () => {
        const page = open({ more: { JitsiConnection: class { constructor() { throw new Error('no service'); } } } });

        await assert.rejects(page.probe.connect('standup', null), /no service/);
    });
});
