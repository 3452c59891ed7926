// meeta_bot/capture/browser/hook/watch.js: what a library tells late or never is told when it happens, once, and by the page itself.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Socket } from './library.mjs';
import { openPage } from './page.mjs';
import { openRoom } from './room.mjs';

describe('a connection that closes', () => {
    it('is told when it happens, with the time since something last arrived', () => {
        const page = openRoom();

        page.chat(3);
        page.advance(400);
        page.closeSocket();
        assert.deepEqual(page.told(), [ [ 'signalling_lost', { ago_ms: 1400, evidence: 'closed' } ] ]);
    });

    it('is told once, and once that it is back', () => {
        const page = openRoom();

        page.closeSocket();
        page.advance(7000);
        assert.equal(page.told().length, 1);
        page.xmpp.connected = true;
        page.emit('Established', 'id');
        page.advance(3000);
        assert.deepEqual(page.told().slice(1), [ [ 'signalling_back' ] ]);
    });

    it('is told as often as it happens', () => {
        const page = openRoom();

        for (const connected of [ false, true, false, true ]) {
            page.xmpp.connected = connected;
            page.task(() => page.xmpp.emit('CONN_STATUS_CHANGED', 15));
        }
        assert.deepEqual(page.told().map(([ what ]) => what),
            [ 'signalling_lost', 'signalling_back', 'signalling_lost', 'signalling_back' ]);
    });

    it('is seen within a second where neither status nor socket tell', () => {
        const page = openRoom();

        page.xmpp._stropheConn = undefined;
        page.xmpp.connected = false;
        page.advance(1000);
        assert.equal(page.told()[0][1].evidence, 'closed');
        page.xmpp.connected = true;
        page.advance(1000);
        assert.deepEqual(page.told()[1], [ 'signalling_back' ]);
    });

    it('is told of the socket that takes the place of the first one, too', () => {
        const page = openRoom();

        page.closeSocket();
        page.xmpp._stropheConn._proto.socket = new Socket();
        page.xmpp.connected = true;
        page.emit('Established', 'id');
        page.advance(10);
        page.closeSocket();
        assert.deepEqual(page.told().map(([ what ]) => what), [ 'signalling_lost', 'signalling_back', 'signalling_lost' ]);
    });

    it('is told though it was back before anybody looked', () => {
        const page = openRoom();

        page.chat(1);
        page.emit('Established', 'id');
        assert.deepEqual(page.told().map(([ what ]) => what), [ 'signalling_lost', 'signalling_back' ]);
    });

    it('is told before the library gives up, and is not back after that', () => {
        const page = openRoom();
        const before = page.messages().length;

        page.xmpp.connected = false;
        page.emit('Failed', 'connection.droppedError');
        page.xmpp.connected = true;
        page.advance(5000);
        assert.deepEqual(page.messages().slice(before).map(({ origin }) => origin),
            [ 'hook.signalling_lost', 'connection.connectionFailed' ]);
    });

    it('is not told when only the conference was refused', () => {
        const page = openRoom();

        page.emit('Failed', 'conference.request.failed');
        page.advance(2000);
        assert.deepEqual(page.told(), []);
        page.closeSocket();
        assert.equal(page.told().length, 1);
    });

    it('is not told before the login and after the bot began to leave', () => {
        const page = openRoom({ enter: false });

        page.xmpp.connected = false;
        page.advance(3000);
        page.emit('Failed', 'connection.otherError');
        page.xmpp.connected = true;
        page.emit('Established', 'id');
        page.task(() => page.meetaBot.leave('capture-1.1'));
        page.closeSocket();
        page.advance(30_000);
        assert.deepEqual(page.told(), []);
    });
});

describe('a server that falls silent', () => {
    it('is told after the limit, when it was asked and did not answer', () => {
        const page = openRoom();

        page.chat(5);
        page.advance(11_000);
        assert.deepEqual([ page.xmpp.pings.length, page.told() ], [ 1, [] ]);
        page.advance(3000);
        assert.deepEqual(page.told(), []);
        page.advance(1000);
        assert.deepEqual(page.told(), [ [ 'signalling_lost', { ago_ms: 16_000, evidence: 'silent' } ] ]);
        page.advance(60_000);
        assert.deepEqual([ page.xmpp.pings.length, page.told().length ], [ 1, 1 ]);
    });

    it('is asked at its own domain and may answer what it likes', () => {
        const page = openRoom();

        page.advance(12_000);
        const [ [ domain, done, failed, timeout ] ] = page.xmpp.pings;

        assert.deepEqual([ domain, timeout ], [ 'meet.example.org', 15_000 ]);
        done();
        failed();
        page.hears();
        page.advance(11_000);
        assert.deepEqual([ page.xmpp.pings.length, page.told() ], [ 1, [] ]);
        page.xmpp.pingDomain = 'ping.example.org';
        page.advance(1000);
        assert.equal(page.xmpp.pings[1][0], 'ping.example.org');
    });

    it('is back when it speaks again', () => {
        const page = openRoom();

        page.advance(20_000);
        page.chat(2);
        assert.deepEqual(page.told().map(([ what ]) => what), [ 'signalling_lost', 'signalling_back' ]);
        page.advance(20_000);
        assert.equal(page.told().length, 3);
    });

    it('whose connection closes at last is lost once, and back once when the session goes on', () => {
        const page = openRoom();

        page.advance(20_000);
        page.closeSocket();
        page.advance(10_000);
        page.xmpp.connected = true;
        page.emit('Established', 'id');
        page.advance(5000);
        assert.deepEqual(page.told().map(([ what ]) => what), [ 'signalling_lost', 'signalling_back' ]);
    });

    it('is not taken for silent because a clock was set', () => {
        const page = openRoom();

        for (const jump of [ 3_600_000, -7_200_000 ]) {
            page.chat(2);
            page.wall += jump;
            page.advance(2000);
            page.chat(2);
        }
        assert.deepEqual([ page.xmpp.pings, page.told() ], [ [], [] ]);
    });

    it('is found out though the clock was set back', () => {
        const page = openRoom();

        page.chat(2);
        page.wall -= 3_600_000;
        page.advance(15_000);
        assert.deepEqual(page.told(), [ [ 'signalling_lost', { ago_ms: 16_000, evidence: 'silent' } ] ]);
    });

    it('is not asked for ever', () => {
        const page = openRoom({ limits: { silence: 8000 } });

        page.advance(100_000);
        assert.equal(page.xmpp.pings.length, 1);
    });
});

describe('a library whose internals are missing', () => {
    const breakages = {
        'no xmpp': page => { page.connection.xmpp = undefined; },
        'no connection in it': page => { page.connection.xmpp.connection = null; },
        'no state of the connection': page => { delete page.xmpp.connected; },
        'no time of the last success': page => { page.xmpp.getTimeSinceLastSuccess = undefined; },
        'no ping': page => { page.xmpp.ping = undefined; },
        'a ping that throws': page => { page.xmpp.ping.ping = () => { throw new Error('no ping'); }; },
        'no bridge channel': page => { page.conference().rtc = undefined; },
        'getters that throw': page => Object.defineProperty(page.connection, 'xmpp', { get() { throw new Error('no'); } })
    };

    for (const [ what, breakIt ] of Object.entries(breakages)) {
        it(`(${what}) is done without, quietly`, () => {
            const page = openRoom();

            breakIt(page);
            if (what === 'no bridge channel') {
                page.chat(60);
            } else {
                page.advance(60_000);
            }
            assert.deepEqual(page.told(), []);
            assert.ok(!page.messages().some(({ origin }) => origin === 'hook.error'));
            assert.equal(page.beats.length, 12);
        });
    }

    it('from the beginning still enters the room', () => {
        const page = openRoom({ enter: false });

        page.connection.xmpp = undefined;
        page.emit('Established', 'id');
        assert.equal(page.conference().calls.at(-1)[0], 'join');
    });
});

describe('a page that got no time to run', () => {
    it('says so to every conference, with the time from its last look', () => {
        const page = openRoom();

        page.join('capture-2.1');
        page.advance(1000);
        page.freeze(60_500);
        const told = { from_at: 1_700_000_001_000, to_at: 1_700_000_061_500, ms: 60_500 };

        assert.deepEqual(page.told(), [ [ 'slept', told ], [ 'slept', told ] ]);
        assert.equal(page.beats.length, 1);
        page.beats[0].conferences.forEach(([ key, made, waiting ]) => assert.equal(waiting, made, key));
    });

    it('bears what is no more than a busy machine', () => {
        const page = openRoom();

        page.freeze(6000);
        assert.deepEqual(page.told(), []);
        page.freeze(6001);
        assert.equal(page.told().length, 1);
    });

    it('does not take for silence what it could not hear', () => {
        const page = openRoom();

        page.freeze(60_000);
        page.advance(2000);
        assert.deepEqual(page.told().map(([ what ]) => what), [ 'slept' ]);
        assert.equal(page.xmpp.pings.length, 0);
        page.advance(15_000);
        assert.deepEqual(page.told()[1], [ 'signalling_lost', { ago_ms: 76_000, evidence: 'silent' } ]);
    });

    it('is told by its own clock, however the wall clock was set meanwhile', () => {
        const page = openRoom();

        page.wall -= 3_600_000;
        page.chat(2);
        page.wall += 7_200_000;
        page.chat(2);
        assert.deepEqual(page.told(), []);
    });
});

describe('the heartbeat', () => {
    it('comes at its time, for the whole page, with the books of each conference', () => {
        const page = openRoom();

        page.join('capture-2.1');
        page.advance(4999);
        assert.equal(page.beats.length, 0);
        page.advance(1);
        const told = page.messages().length;
        const books = [ [ 'capture-1.1', told, told, 0 ], [ 'capture-2.1', 0, 0, 0 ] ];

        assert.deepEqual(page.beats, [ { page_load: 'page-load-1', alive: 5100, wall_ms: 1_700_000_005_000, conferences: books } ]);
        page.advance(15_000);
        assert.equal(page.beats.length, 4);
    });

    it('comes also while there is no conference', () => {
        const page = openRoom();

        page.task(() => page.meetaBot.forget('capture-1.1'));
        page.advance(10_000);
        assert.deepEqual(page.beats.map(beat => beat.conferences), [ [], [] ]);
    });

    it('counts what waits and everything that was missed, over all overflows', () => {
        const page = openPage();
        const outbox = new page.meetaBot.Outbox('room', 'load', text => page.delivered.push(JSON.parse(text)));

        page.meetaBot.configure({ messages: 2 });
        const push = count => page.task(() => {
            for (let n = 0; n < count; n += 1) {
                outbox.push('x', []);
            }
        });

        assert.deepEqual(Array.from(outbox.books()), [ 0, 0, 0 ]);
        push(5);
        assert.deepEqual(Array.from(outbox.books()), [ 2, 2, 3 ]);
        page.task(() => outbox.acknowledge(2));
        assert.deepEqual(Array.from(outbox.books()), [ 3, 1, 3 ]);
        push(2);
        assert.deepEqual(Array.from(outbox.books()), [ 4, 2, 4 ]);
    });

    it('goes on when the binding throws', () => {
        let broken = true;
        const beats = [];
        const page = openRoom({
            enter: false,
            deliver: text => {
                if (broken) {
                    throw new Error('no binding');
                }
                beats.push(text);
            }
        });

        page.advance(10_000);
        broken = false;
        page.advance(5000);
        assert.equal(beats.filter(text => text.includes('alive')).length, 1);
    });
});
