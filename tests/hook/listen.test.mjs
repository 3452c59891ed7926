// meeta_bot/capture/browser/hook/listen.js: everything is listened to once, nothing is thrown into the library, secrets stay.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Conference, Connection, EVENTS, library, Stanza } from './library.mjs';
import { openPage, plain } from './page.mjs';

const BREAKOUT_LIBRARY = library({ events: { ...EVENTS, conference: {
    BREAKOUT_ROOMS_UPDATED: 'conference.breakout-rooms.updated',
    BREAKOUT_ROOMS_MOVE_TO_ROOM: 'conference.breakout-rooms.move-to-room'
} } });

function openConference(given = library()) {
    const page = openPage();

    page.outbox = new page.meetaBot.Outbox('room-1', 'load-1', text => page.delivered.push(JSON.parse(text)));
    page.conference = new Conference();
    page.connection = new Connection();
    page.task(() => {
        page.meetaBot.listenToConnection(given, page.connection, page.outbox);
        page.meetaBot.listenToConference(given, page.conference, page.outbox);
    });
    page.installed = page.messages().at(-1).args[0];
    page.delivered.length = 0;
    page.emit = (...args) => page.task(() => page.conference.emit(...args));
    page.told = () => page.messages().map(({ origin, args }) => [ origin, args ]);
    page.presence = (...args) => page.task(() => page.conference.presence(...args));

    return page;
}

describe('what is listened to', () => {
    it('every event of a conference by its string value, once, though two names may have the same', () => {
        const { conference } = openConference();

        assert.deepEqual([ ...conference.listeners ].map(([ event, listeners ]) => [ event, listeners.length ]), [
            'conference.joined', 'conference.left', 'conference.kicked', 'conference.userJoined', 'conference.userLeft',
            'conference.subjectChanged', 'conference.phoneNumberChanged', 'conference.not_known_yet',
            'cq.local_stats_updated'
        ].map(event => [ event, 1 ]));
    });

    it('every event of the connection, once', () => {
        const { connection } = openConference();

        assert.deepEqual([ ...connection.listeners ].map(([ event, listeners ]) => [ event, listeners.length ]), [
            'connection.connectionEstablished', 'connection.connectionFailed', 'connection.connectionDisconnected'
        ].map(event => [ event, 1 ]));
    });

    it('no audio levels, no authentication strings, nothing of tracks and devices', () => {
        const { conference } = openConference();

        for (const event of [ 'conference.audioLevelsChanged', 'conference.e2ee.verification.ready',
            'track.trackMuteChanged', 'mediaDevices.devicechange', 'rtstats_pc_event', '42' ]) {
            assert.ok(!conference.listeners.has(event), event);
        }
    });

    it('the hook says what it listens to, and which library and page that is', () => {
        const { installed, conference, connection } = openConference();

        assert.deepEqual(installed, {
            events: [ ...conference.listeners.keys(), ...connection.listeners.keys() ],
            library_version: '1.0.2030',
            page_load: 'load-1'
        });
    });

    it('a library without a version and with no other groups of events will do', () => {
        const { installed } = openConference(library({ version: undefined, events: { conference: EVENTS.conference } }));

        assert.equal(installed.library_version, null);
    });

    it('an event nobody knows is told with its arguments', () => {
        const page = openConference();

        page.emit('conference.not_known_yet', 'a', { b: 2 });
        assert.deepEqual(page.told(), [ [ 'conference.not_known_yet', [ 'a', { b: 2 } ] ] ]);
    });

    it('joined is told with who the bot is and how many are there', () => {
        const page = openConference();

        page.conference.participants = [ {}, {} ];
        page.emit('conference.joined');
        assert.deepEqual(page.told(),
            [ [ 'conference.joined', [ { endpoint_id: 'the-bot', role: 'none', roster_size: 2 } ] ] ]);
    });
});

describe('what stays in the page', () => {
    it('login data, the third argument of a failed connection, and all behind it', () => {
        const page = openConference();

        page.task(() => page.connection.emit('connection.connectionFailed', 'connection.passwordRequired', 'why',
            { jid: 'a@b', word: 'open sesame' }, { more: 1 }));
        assert.deepEqual(page.told(),
            [ [ 'connection.connectionFailed', [ 'connection.passwordRequired', 'why' ] ] ]);
        assert.ok(!JSON.stringify(page.delivered).includes('sesame'));
    });

    it('a phone number with its PIN', () => {
        const page = openConference();

        page.emit('conference.phoneNumberChanged', '+1 555 0100', '4711');
        assert.deepEqual(page.told(), [ [ 'conference.phoneNumberChanged', [] ] ]);
    });
});

describe('when something throws', () => {
    it('arguments that can\'t be read do not reach the library, and the event is told', () => {
        const page = openConference();
        const later = [];

        page.conference.on('conference.subjectChanged', () => later.push('ran'));
        page.emit('conference.subjectChanged', new Proxy({}, { get() { throw new Error('trap'); } }));
        assert.deepEqual(later, [ 'ran' ]);
        assert.equal(page.told()[0][0], 'conference.subjectChanged');
        assert.equal(page.told()[0][1][0].$, 'unreadable');
    });

    it('a conference that can\'t tell who the bot is does not break "joined"', () => {
        const page = openConference();

        page.conference.myUserId = () => {
            throw new Error('no id');
        };
        page.emit('conference.joined');
        assert.deepEqual(page.told(), [ [ 'hook.error', [ 'conference.joined', 'no id' ] ], [ 'conference.joined', [] ] ]);
    });

    it('a failure of a presence listener is told and the next presence is heard', () => {
        const page = openConference();
        const { myUserId } = page.conference;

        page.conference.myUserId = () => {
            throw Object.create(null);
        };
        page.presence('alice', { audiomuted: 'true' });
        page.conference.myUserId = myUserId;
        page.presence('alice', { audiomuted: 'true' });
        assert.deepEqual(page.told(), [
            [ 'hook.error', [ 'audiomuted', 'an error that can\'t be read' ] ],
            [ 'presence.media', [ 'alice', { audiomuted: 'true' } ] ]
        ]);
    });

    it('even an outbox that throws does not reach the library', () => {
        const page = openConference();

        page.outbox.push = () => {
            throw new Error('broken');
        };
        assert.doesNotThrow(() => page.emit('conference.subjectChanged', 'x'));
        assert.doesNotThrow(() => page.presence('alice', { audiomuted: 'true' }));
    });
});

describe('departures', () => {
    const flagsOf = page => page.told().filter(([ origin ]) => origin === 'conference.userLeft').map(([ , args ]) => args.at(-1));

    it('a participant who leaves is told as such', () => {
        const page = openConference();

        page.emit('conference.userLeft', 'alice', {}, 'a reason');
        assert.deepEqual(page.told(), [ [ 'conference.userLeft', [ 'alice', {}, 'a reason', { with_our_own: false } ] ] ]);
    });

    it('everybody who "leaves" in the task in which the bot leaves is flagged', () => {
        const page = openConference();

        page.task(() => {
            page.conference.emit('conference.userLeft', 'alice', {});
            page.conference.emit('conference.userLeft', 'bob', {});
            page.conference.emit('conference.left');
        });
        assert.deepEqual(flagsOf(page), [ { with_our_own: true }, { with_our_own: true } ]);
        assert.equal(page.told().at(-1)[0], 'conference.left');
    });

    it('one who left in an earlier task is not, though the messages were not sent yet', () => {
        const page = openConference();

        page.meetaBot.configure({ window: 1, batch: 1 });
        page.emit('conference.userLeft', 'alice', {});
        page.task(() => {
            page.conference.emit('conference.userLeft', 'bob', {});
            page.conference.emit('conference.left');
        });
        page.task(() => page.outbox.acknowledge(1));
        for (let seq = 1; seq < 9; seq += 1) {
            page.task(() => page.outbox.acknowledge(seq));
        }
        assert.deepEqual(flagsOf(page), [ { with_our_own: false }, { with_our_own: true } ]);
    });

    it('a departure after the bot\'s own is a task of its own', () => {
        const page = openConference();

        page.emit('conference.left');
        page.emit('conference.userLeft', 'alice', {});
        assert.deepEqual(flagsOf(page), [ { with_our_own: false } ]);
    });
});

describe('what stanzas say beyond the library\'s events', () => {
    const DELAY = new Stanza('delay', { xmlns: 'urn:xmpp:delay', stamp: '2023-11-14T22:13:20Z' });
    const STAMP = Date.parse('2023-11-14T22:13:20Z');
    const gone = (nick, text, ...codes) => new Stanza('presence', { type: 'unavailable', from: `room@muc/${nick}` }, [
        new Stanza('status', {}, [], text),
        new Stanza('x', {}, codes.map(code => new Stanza('status', { code: String(code) })))
    ]);
    const times = page => page.delivered.flatMap(batch => batch.messages).map(([ , , , origin, , at ]) => [ origin, at ]);

    /** What Strophe does with a stanza: shows it, then has it handled, all in one task. */
    function arrive(page, stanza, ...events) {
        page.task(() => {
            page.connection.xmpp.connection._stropheConn.xmlInput(stanza);
            events.forEach(event => page.conference.emit(...event));
        });
    }

    it('why somebody left, as text and codes, which the library of 2021 leaves out', () => {
        const page = openConference();

        arrive(page, gone('alice', 'Kicked: recipient unavailable', 333), [ 'conference.userLeft', 'alice', {} ]);
        page.emit('conference.userLeft', 'bob', {});
        assert.deepEqual(page.told().map(([ , args ]) => args.at(-1)), [
            { with_our_own: false, text: 'Kicked: recipient unavailable', codes: [ 333 ] },
            { with_our_own: false }
        ]);
    });

    it('several stanzas of one answer (BOSH) are told apart', () => {
        const page = openConference();
        const alice = gone('alice', 'switch_room');

        new Stanza('body', {}, [ alice, gone('bob', 'Disconnected: closed', 333), DELAY ]);
        arrive(page, alice, [ 'conference.userLeft', 'bob', {} ], [ 'conference.userLeft', 'alice', {} ]);
        assert.deepEqual(page.told().map(([ , args ]) => [ args[0], args.at(-1).text ]),
            [ [ 'bob', 'Disconnected: closed' ], [ 'alice', 'switch_room' ] ]);
        assert.deepEqual(times(page).map(([ , at ]) => at), [ undefined, undefined ]);
    });

    it('when the server had what comes late: in all that the stanza causes, and in nothing after it', () => {
        const page = openConference();

        arrive(page, new Stanza('presence', { from: 'room@muc/alice' }, [ DELAY ]),
            [ 'conference.userJoined', 'alice', {} ], [ 'conference.not_known_yet' ]);
        page.emit('conference.not_known_yet');
        assert.deepEqual(times(page), [
            [ 'conference.userJoined', STAMP ], [ 'conference.not_known_yet', STAMP ],
            [ 'conference.not_known_yet', undefined ]
        ]);
    });

    it('media that are told at the end of that task are late, too', () => {
        const page = openConference();

        page.task(() => {
            page.connection.xmpp.connection._stropheConn.xmlInput(new Stanza('presence', {}, [ DELAY ]));
            page.conference.presence('alice', { audiomuted: 'true' });
        });
        assert.deepEqual(times(page), [ [ 'presence.media', STAMP ] ]);
    });

    it('a time that can\'t be read is none, and what was there before is still asked', () => {
        const page = openConference();
        const stanza = new Stanza('message', {}, [ new Stanza('delay', { stamp: 'yesterday' }) ]);

        arrive(page, stanza, [ 'conference.not_known_yet' ]);
        assert.deepEqual(times(page), [ [ 'conference.not_known_yet', undefined ] ]);
        assert.deepEqual(page.connection.xmpp.connection._stropheConn.shown, [ stanza ]);
    });

    it('a stanza that can\'t be read costs its own meaning only', () => {
        const page = openConference();

        arrive(page, null, [ 'conference.not_known_yet' ]);
        assert.deepEqual(page.told().map(([ origin ]) => origin), [ 'hook.error', 'conference.not_known_yet' ]);
    });

    it('a library with other internals does without', () => {
        const page = openPage();
        const outbox = new page.meetaBot.Outbox('room-1', 'load-1', () => undefined);

        for (const xmpp of [ undefined, {}, { connection: {} }, { connection: { _stropheConn: {} } } ]) {
            page.meetaBot.listenToConnection(library(), Object.assign(new Connection(), { xmpp }), outbox);
        }
        assert.equal(outbox.lastSeq, 0);
    });
});

describe('breakout rooms', () => {
    const UPDATED = 'conference.breakout-rooms.updated';
    const list = page => page.told().at(-1)[1][0].rooms;

    it('rooms, endpoints and names are told, and nobody\'s address', () => {
        const page = openConference(BREAKOUT_LIBRARY);
        const jid = '5e6f7a8b-1111-4222-8333-444455556666@meet.example.org/abc';

        page.emit(UPDATED, { type: 'breakout_rooms', roomCounter: 1, rooms: {
            standup: { id: 'standup', jid: 'standup@muc.x', isMainRoom: true, participants: [] },
            'b-1': { id: 'b-1', jid: 'b-1@breakout.x', name: 'First', participants: {
                'b-1@breakout.x/5e6f7a8b': { jid, role: 'moderator', displayName: 'Alice' }
            } }
        } });
        assert.deepEqual(list(page), [
            { id: 'standup', name: null, is_main: true, participants: [] },
            { id: 'b-1', name: 'First', is_main: false,
                participants: [ { endpoint_id: '5e6f7a8b', name: 'Alice', role: 'moderator' } ] }
        ]);
        assert.ok(!JSON.stringify(page.delivered).includes('4222-8333'));
    });

    it('without an address in the room, the endpoint is how the real one begins, or unknown', () => {
        const page = openConference(BREAKOUT_LIBRARY);

        page.emit(UPDATED, { rooms: { b: { id: 'b', participants: {
            '5e6f7a8b-1111-4222-8333-444455556666@x/res': { jid: '5e6f7a8b-1111-4222-8333-444455556666@x/res' },
            'ann@x/res': { jid: 'ann@x/res', displayName: 'Ann' }
        } } } });
        assert.deepEqual(list(page)[0].participants.map(who => [ who.endpoint_id, who.name ]),
            [ [ '5e6f7a8b', null ], [ null, 'Ann' ] ]);
    });

    it('where the bot is sent is told by the room\'s id', () => {
        const page = openConference(BREAKOUT_LIBRARY);

        page.emit('conference.breakout-rooms.move-to-room', 'b-1@breakout.x');
        assert.deepEqual(page.told(), [ [ 'conference.breakout-rooms.move-to-room', [ 'b-1' ] ] ]);
    });

    it('what is no list of rooms is told as none', () => {
        for (const given of [ undefined, null, { rooms: null }, { rooms: {} } ]) {
            const page = openConference(BREAKOUT_LIBRARY);

            page.emit(UPDATED, given);
            assert.deepEqual(page.told(), [ [ UPDATED, [ { rooms: [] } ] ] ]);
        }
    });
});

describe('presence', () => {
    const SOURCES = '{"alice-a0":{"muted":true}}';

    it('all media elements of a participant are told at once, at the end of the task', () => {
        const page = openConference();

        page.presence('alice', { SourceInfo: SOURCES, audiomuted: 'true', videomuted: 'false', videoType: 'camera', nick: 'x' });
        assert.deepEqual(page.told(), [ [ 'presence.media', [ 'alice',
            { SourceInfo: SOURCES, audiomuted: 'true', videomuted: 'false', videoType: 'camera' } ] ] ]);
    });

    it('the same presence again is no news', () => {
        const page = openConference();

        page.presence('alice', { SourceInfo: SOURCES });
        page.presence('alice', { SourceInfo: SOURCES });
        assert.equal(page.told().length, 1);
    });

    it('one element that changes is told with the others', () => {
        const page = openConference();

        page.presence('alice', { audiomuted: 'true', videomuted: 'false' });
        page.presence('alice', { audiomuted: 'false', videomuted: 'false' });
        assert.deepEqual(page.told().at(-1), [ 'presence.media', [ 'alice', { audiomuted: 'false', videomuted: 'false' } ] ]);
    });

    it('of several presences in one task the last counts, each participant once', () => {
        const page = openConference();

        page.task(() => {
            page.conference.presence('alice', { audiomuted: 'true' });
            page.conference.presence('bob', { audiomuted: 'true' });
            page.conference.presence('alice', { audiomuted: 'false' });
        });
        assert.deepEqual(page.told(), [
            [ 'presence.media', [ 'alice', { audiomuted: 'false' } ] ],
            [ 'presence.media', [ 'bob', { audiomuted: 'true' } ] ]
        ]);
    });

    it('the arrival is told before the presence that came with it', () => {
        const page = openConference();

        page.task(() => {
            page.conference.presence('alice', { audiomuted: 'true' });
            page.conference.emit('conference.userJoined', 'alice');
        });
        assert.deepEqual(page.told().map(([ origin ]) => origin), [ 'conference.userJoined', 'presence.media' ]);
    });

    it('what the focus says of a recording is told when it changes; from others it is not believed', () => {
        const page = openConference();
        const pending = { session_id: 's-1', status: 'pending', initiator: 'room@muc/alice', recording_mode: 'file' };

        page.presence('focus', { 'jibri-recording-status': pending });
        page.presence('focus', { 'jibri-recording-status': { ...pending } });
        page.presence('mallory', { 'jibri-recording-status': { ...pending, status: 'off' } });
        page.presence('focus', { 'jibri-recording-status': { status: 'undefined' } });
        page.presence('focus', { 'jibri-recording-status': { ...pending, status: 'off' } });
        assert.deepEqual(page.told(), [
            [ 'presence.recording', [ { session_id: 's-1', status: 'pending', mode: 'file', initiator: 'alice' } ] ],
            [ 'presence.recording', [ { session_id: 's-1', status: 'off', mode: 'file', initiator: 'alice' } ] ]
        ]);
    });

    it('a failure is told, also when nothing else changed', () => {
        const page = openConference();
        const off = { session_id: 's-1', status: 'off' };

        page.presence('focus', { 'jibri-recording-status': off });
        page.presence('focus', { 'jibri-recording-status': { ...off, failure_reason: 'busy' } });
        assert.deepEqual(page.told(), [
            [ 'presence.recording', [ { session_id: 's-1', status: 'off' } ] ],
            [ 'presence.recording', [ { session_id: 's-1', status: 'off', error: 'busy' } ] ]
        ]);
    });

    it('the bot\'s own is no news', () => {
        const page = openConference();

        page.presence('the-bot', { audiomuted: 'true' });
        assert.deepEqual(page.told(), []);
    });

    it('of one who left nothing is remembered: the same presence after a return is news', () => {
        const page = openConference();

        page.presence('alice', { audiomuted: 'true' });
        page.emit('conference.userLeft', 'alice');
        page.presence('alice', { audiomuted: 'true' });
        assert.deepEqual(page.told().map(([ origin ]) => origin),
            [ 'presence.media', 'conference.userLeft', 'presence.media' ]);
    });

    it('a presence in the task of the departure is not told any more', () => {
        const page = openConference();

        page.task(() => {
            page.conference.presence('alice', { audiomuted: 'true' });
            page.conference.emit('conference.userLeft', 'alice');
        });
        assert.deepEqual(page.told().map(([ origin ]) => origin), [ 'conference.userLeft' ]);
    });

    it('an element without a value is an empty one, and no value is changed in place', () => {
        const page = openConference();

        page.presence('alice', { SourceInfo: undefined });
        page.presence('alice', { SourceInfo: SOURCES });
        assert.deepEqual(plain(page.told()), [
            [ 'presence.media', [ 'alice', { SourceInfo: '' } ] ],
            [ 'presence.media', [ 'alice', { SourceInfo: SOURCES } ] ]
        ]);
    });
});
