// meeta_bot/capture/browser/hook/serialize.js: whatever the library hands out becomes JSON, and nothing gets out that must not.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { openPage, plain } from './page.mjs';

const JIGASI = 'http://jitsi.org/protocol/jigasi';
const page = openPage();
const { meetaBot } = page;

const serialized = value => plain(meetaBot.serialize([ value ]))[0];
const serializedSource = source => serialized(page.evaluate(`(${source})`));

class Participant {
    getId() { return 'ab12cd34'; }
    getDisplayName() { return 'Alice'; }
    getRole() { return 'moderator'; }
    getJid() { return 'room@muc.example.org/ab12cd34'; }
    isHidden() { return false; }
    getBotType() { return undefined; }
    getStatsID() { return 'Gerda-dD2'; }
    isReplacing() { return false; }
    isReplaced() { return false; }
    hasFeature(feature) { return feature === JIGASI; }
}

class Track {
    constructor() { this.conference = this; }
    getParticipantId() { return 'ab12cd34'; }
    getType() { return 'video'; }
    isMuted() { return true; }
    isLocal() { return false; }
}

class Session {
    getID() { return 'session-1'; }
    getStatus() { return 'on'; }
    getMode() { return 'file'; }
    getError() { return undefined; }
    getInitiator() { return new Participant(); }
    getTerminator() { return undefined; }
}

describe('objects of the library', () => {
    const known = {
        $: 'participant',
        id: 'ab12cd34',
        name: 'Alice',
        role: 'moderator',
        hidden: false,
        stats_id: 'Gerda-dD2',
        is_replacing: false,
        is_replaced: false,
        features: [ JIGASI ]
    };

    it('a participant of 2021 has its identity in a private field', () => {
        const participant = Object.assign(new Participant(), { _identity: { user: { id: 'u-1' } }, _tracks: [] });

        assert.deepEqual(serialized(participant), { ...known, user_id: 'u-1' });
    });

    it('a participant of 2026 has a getter for its identity', () => {
        class Newer extends Participant {
            getIdentity() { return { user: { id: 'u-2' }, group: 'g' }; }
        }

        assert.deepEqual(serialized(new Newer()), { ...known, user_id: 'u-2' });
    });

    it('a participant without identity and name has none', () => {
        class Anonymous extends Participant {
            getDisplayName() { return undefined; }
        }
        const { name, ...rest } = known;

        assert.deepEqual(serialized(new Anonymous()), rest);
    });

    it('what a participant can\'t tell is left out, the rest is told', () => {
        class Broken extends Participant {
            getRole() { throw new Error('no role'); }
        }
        const { role, ...rest } = known;

        assert.deepEqual(serialized(new Broken()), rest);
    });

    it('an identity that is no text does not become a live object', () => {
        class Odd extends Participant {
            getIdentity() { return { user: { id: { self: this } } }; }
            getDisplayName() { return 12345678901234567890n; }
        }
        const it = serialized(new Odd());

        assert.equal(it.user_id, null);
        assert.equal(it.name, '12345678901234567890');
    });

    it('a track of 2021 keeps its video type in a field', () => {
        const track = Object.assign(new Track(), { videoType: 'desktop' });

        assert.deepEqual(serialized(track), {
            $: 'track', endpoint_id: 'ab12cd34', local: false, media_type: 'video', muted: true, video_type: 'desktop'
        });
    });

    it('a track of 2026 names its source', () => {
        class Newer extends Track {
            getVideoType() { return 'camera'; }
            getSourceName() { return 'ab12cd34-v0'; }
        }

        assert.deepEqual(serialized(new Newer()), {
            $: 'track',
            endpoint_id: 'ab12cd34',
            local: false,
            media_type: 'video',
            muted: true,
            source_name: 'ab12cd34-v0',
            video_type: 'camera'
        });
    });

    it('a recording session names its initiator by endpoint, given as a participant', () => {
        assert.deepEqual(serialized(new Session()), {
            $: 'recorder_session', id: 'session-1', status: 'on', mode: 'file', initiator: 'ab12cd34'
        });
    });

    it('a recording session names initiator and terminator by endpoint, given as addresses', () => {
        class Addresses extends Session {
            getInitiator() { return 'room@muc.example.org/11111111'; }
            getTerminator() { return '22222222'; }
            getError() { return 'busy'; }
        }
        const it = serialized(new Addresses());

        assert.deepEqual([ it.initiator, it.terminator, it.error ], [ '11111111', '22222222', 'busy' ]);
    });

    it('conference and connection are only named', () => {
        const conference = { myUserId() {}, join() {}, leave() {}, room: { password: 'x' } };
        const connection = { initJitsiConference() {}, connect() {}, token: 'x' };

        assert.deepEqual(plain(meetaBot.serialize([ conference, connection ])), [ { $: 'conference' }, { $: 'connection' } ]);
    });

    it('an element of XML is only named', () => {
        assert.deepEqual(serialized({ nodeType: 1, nodeName: 'presence', parentNode: {} }), { $: 'xml', name: 'presence' });
    });

    it('errors, dates and bytes are told by what counts', () => {
        assert.deepEqual(serializedSource('new TypeError("bad\\u0000thing")'),
            { $: 'error', name: 'TypeError', message: 'bad\uFFFDthing' });
        assert.equal(serializedSource('new Date(1700000000000)'), 1700000000000);
        assert.deepEqual(serializedSource('new Float64Array(4)'), { $: 'bytes', length: 32 });
        assert.deepEqual(serializedSource('new ArrayBuffer(7)'), { $: 'bytes', length: 7 });
        assert.deepEqual(serializedSource('new DataView(new ArrayBuffer(3))'), { $: 'bytes', length: 3 });
    });

    it('of machinery that is not known only the scalars are told, since from it one gets to everything', () => {
        class MediaSession {
            constructor() {
                this.sid = '4f2e';
                this.closed = false;
                this.peerconnection = { trace: [ 'a=ice-pwd:cTdH9RFv9yK' ] };
                this.localUfrag = 'BvHR';
                this._internal = 1;
            }
        }

        assert.deepEqual(serialized({ session: new MediaSession() }),
            { session: { $: 'object', sid: '4f2e', closed: false, localUfrag: '[hidden]' } });
    });
});

describe('plain values', () => {
    it('scalars stay, and what JSON lacks becomes text or null', () => {
        const given = [ 'a', 1, 1.5, true, false, null, undefined, 10n, NaN, Infinity, -Infinity, Symbol('s'), () => 1 ];

        assert.deepEqual(plain(meetaBot.serialize(given)),
            [ 'a', 1, 1.5, true, false, null, null, '10', 'NaN', 'Infinity', '-Infinity', null, null ]);
    });

    it('undefined values, functions and private fields of an object are left out', () => {
        assert.deepEqual(serialized({ a: 1, b: undefined, c() {}, _d: 2, [Symbol('e')]: 3 }), { a: 1 });
    });

    it('maps become objects and sets become lists', () => {
        assert.deepEqual(serializedSource('new Map([["a", new Set([1, "b"])], [2, null]])'), { a: [ 1, 'b' ], 2: null });
    });

    it('an object without prototype is data like any other', () => {
        assert.deepEqual(serialized(Object.assign(Object.create(null), { a: 1 })), { a: 1 });
    });

    it('a key that would change the copy\'s prototype does not', () => {
        const copy = meetaBot.serialize([ JSON.parse('{"__proto__": {"polluted": true}, "a": 1}') ])[0];

        assert.equal(copy.polluted, undefined);
        assert.deepEqual(plain(copy), { a: 1 });
    });

    it('a copy does not change when the library changes its object', () => {
        const live = { stats: { packetLoss: 1 } };
        const copy = meetaBot.serialize([ live ]);

        live.stats.packetLoss = 2;
        assert.deepEqual(plain(copy), [ { stats: { packetLoss: 1 } } ]);
    });
});

describe('hostile values', () => {
    it('a cycle ends at the greatest depth', () => {
        const cycle = { name: 'again' };

        cycle.self = cycle;
        const text = JSON.stringify(meetaBot.serialize([ cycle ]));

        assert.match(text, /"self":"…"/);
        assert.equal(text.match(/again/g).length, 7);
    });

    it('a getter that throws makes its object unreadable and leaves the others', () => {
        const bad = { get field() { throw new Error('not now'); } };

        assert.deepEqual(plain(meetaBot.serialize([ bad, 'next' ])), [ { $: 'unreadable', message: 'not now' }, 'next' ]);
    });

    it('a proxy that throws at every touch is unreadable', () => {
        const handler = new Proxy({}, { get() { throw new Error('trap'); } });

        assert.equal(serialized({ inner: new Proxy({}, handler) }).inner.$, 'unreadable');
    });

    it('thrown things that can\'t be read themselves do not get out', () => {
        const thrown = [ Object.create(null), { get message() { throw new Error('again'); } }, null, Symbol('s') ];

        for (const what of thrown) {
            assert.equal(serialized({ get field() { throw what; } }).$, 'unreadable');
        }
    });

    it('an error whose fields are no texts is still JSON', () => {
        const text = serializedSource('Object.assign(new Error("x"), { name: { deep: 1n } })');

        assert.deepEqual(text, { $: 'error', name: null, message: 'x' });
    });

    it('a toJSON of the object has no say', () => {
        class Liar {
            constructor() { this.a = 1; }
            toJSON() { throw new Error('never called'); }
        }

        assert.deepEqual(serialized({ toJSON() { return 'lie'; }, a: 1 }), { a: 1 });
        assert.deepEqual(serialized(new Liar()), { $: 'object', a: 1 });
        assert.deepEqual(serialized({ toJSON: 'text' }), { toJSON: 'text' });
    });

    it('a key of a map that can\'t be text makes the map unreadable only', () => {
        assert.equal(serializedSource('new Map([[Object.create(null), 1]])').$, 'unreadable');
    });

    it('whatever is thrown at it, it returns what JSON takes', () => {
        const all = [
            new Proxy(function () {}, { get() { throw new Error('x'); } }),
            new Proxy([], { get() { throw new Error('x'); } }),
            new Proxy({}, { ownKeys() { throw new Error('x'); } }),
            new Proxy({}, { getPrototypeOf() { throw new Error('x'); } }),
            new Participant(), new Track(), new Session(), new WeakMap(), Promise.resolve(), /re/g, new URL('http://a/b'),
            Object.create({ getId() {}, getRole() {}, getJid() {} }),
            { getId: 1, getRole: 2, getJid: 3 }
        ];

        assert.equal(JSON.parse(JSON.stringify(meetaBot.serialize(all))).length, all.length);
    });
});

describe('secrets', () => {
    const hidden = [
        'password', 'room_Password', 'passwd', 'clientSecret', 'token', 'jwt', 'credential', 'roomKey', 'ufrag', 'pwd',
        'pin', 'sas', 'olm', 'privateKey', 'accessToken'
    ];

    for (const name of hidden) {
        it(`the value of ${name} does not leave the page`, () => {
            assert.deepEqual(serialized({ deep: { [name]: 'open sesame' } }), { deep: { [name]: '[hidden]' } });
        });
    }

    it('a secret with anything inside is hidden whole', () => {
        assert.deepEqual(serialized({ credentials: { user: 'a', list: [ 1 ] } }), { credentials: '[hidden]' });
        assert.deepEqual(serializedSource('new Map([["token", "x"]])'), { token: '[hidden]' });
    });

    it('names that only look alike are kept', () => {
        assert.deepEqual(serialized({ spinner: 1, sasquatch: 2, key: 3, opinion: 4 }),
            { spinner: 1, sasquatch: 2, key: 3, opinion: 4 });
    });
});

describe('texts', () => {
    it('lone surrogates and NUL become the replacement character', () => {
        assert.equal(serialized('a\uD800b\uDC00c\u0000d😀'), 'a\uFFFDb\uFFFDc\uFFFDd😀');
        assert.deepEqual(serialized({ 'k\u0000\uDFFF': 1 }), { 'k\uFFFD\uFFFD': 1 });
    });

    it('a text over the limit is cut, marked, and still well-formed', () => {
        const long = `${'x'.repeat(1048575)}😀${'y'.repeat(99)}`;
        const cut = serialized(long);

        assert.equal(cut.length, 1048576 + '…[100 characters cut]'.length);
        assert.ok(cut.endsWith('x\uFFFD…[100 characters cut]'));
    });

    it('a text of exactly the limit is whole', () => {
        const text = 'x'.repeat(1048576);

        assert.equal(serialized(text), text);
    });

    it('the limit is the configured one', () => {
        const other = openPage();

        other.meetaBot.configure({ text: 3 });
        assert.equal(other.meetaBot.safeText('abcdef'), 'abc…[3 characters cut]');
    });
});

describe('bounds', () => {
    it('nesting deeper than eight levels, the list of arguments included, is cut', () => {
        let deep = 'bottom';

        for (let level = 0; level < 7; level += 1) {
            deep = [ deep ];
        }
        assert.deepEqual(serialized(deep), [ [ [ [ [ [ [ 'bottom' ] ] ] ] ] ] ]);
        assert.deepEqual(serialized([ deep ]), [ [ [ [ [ [ [ '…' ] ] ] ] ] ] ]);
    });

    it('an object of more than 500 keys is cut and says so', () => {
        const wide = Object.fromEntries(Array.from({ length: 501 }, (_, n) => [ `k${n}`, n ]));
        const copy = serialized(wide);

        assert.equal(Object.keys(copy).length, 501);
        assert.equal(copy['…'], 'cut');
        assert.equal(copy.k499, 499);
        assert.equal(copy.k500, undefined);
    });

    it('a list of more than 2000 items is cut and says so', () => {
        const copy = serialized(Array.from({ length: 5000 }, (_, n) => n));

        assert.equal(copy.length, 2001);
        assert.equal(copy[2000], '…');
    });

    it('an endless iterator is cut as well', () => {
        assert.equal(page.evaluate('meetaBot.serialize((function* () { for (;;) yield 1; })())').length, 2001);
    });

    it('all in all one message has no more than 20000 values', () => {
        const wide = Array.from({ length: 100 }, () => Array.from({ length: 1000 }, () => 1));
        const copy = serialized(wide);
        const count = copy.flat().length;

        assert.ok(count >= 19000 && count <= 20200, `${count} values`);
        assert.equal(copy.at(-1), '…');
    });
});
