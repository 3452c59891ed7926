// meeta_bot/capture/browser/hook/listen.js: everything is listened to once, nothing is thrown into the library, secrets stay.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { Conference, Connection, EVENTS, library } from './library.mjs';
import { openPage, plain } from './page.mjs';

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
            [ 'presence.recording', [ { session_id: 's-1', status: 'pending', initiator: 'alice' } ] ],
            [ 'presence.recording', [ { session_id: 's-1', status: 'off', initiator: 'alice' } ] ]
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
