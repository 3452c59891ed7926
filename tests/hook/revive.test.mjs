// meeta_bot/capture/browser/hook/revive.js: focus and media session are got back from inside the room.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { MediaSession } from './library.mjs';
import { openRoom } from './room.mjs';

/** The bot in a room with Ada and the focus, invited to a bridge. */
function openMeeting(limits = {}) {
    const page = openRoom({ limits });
    const conference = page.conference();
    const { members } = conference.room;

    Object.assign(conference, { joined: true, participants: [ 'ada' ], jvbJingleSession: new MediaSession() });
    page.task(() => conference.emit('conference.joined'));
    page.room = conference;
    page.session = conference.jvbJingleSession;
    page.focusGoes = () => delete members['standup@muc/focus'];
    page.focusComes = () => Object.assign(members, { 'standup@muc/focus': {} });
    page.requests = () => page.xmpp.requests;
    page.asked = () => page.told(/^hook\.(media|focus)/);
    page.hear = () => page.task(() => {
        conference.rtc.open();
        conference.emit('conference.dataChannelOpened');
        conference.rtc.say();
    });

    return page;
}

describe('a conference focus that left', () => {
    it('is asked back with growing pauses until it is there', () => {
        const page = openMeeting();

        page.chat(5);
        assert.deepEqual(page.requests(), []);
        page.focusGoes();
        page.chat(60);
        const tries = page.requests().length;

        assert.equal(page.requests()[0][0], 'conference request for standup@muc');
        assert.ok(tries >= 6 && tries <= 14, `${tries} tries in a minute`);
        page.focusComes();
        page.chat(60);
        assert.equal(page.requests().length, tries);
        const [ [ what, { asked, away_ms: away } ] ] = page.asked();

        assert.deepEqual([ what, asked ], [ 'focus_back', tries ]);
        assert.ok(away >= 59_000 && away <= 61_000);
    });

    it('is asked in the words of an old library, too', () => {
        const page = openMeeting();

        page.connection.xmpp.moderator = undefined;
        page.room.room.moderator = { createConferenceIq: () => 'old request' };
        page.chat(1);
        page.focusGoes();
        page.chat(5);
        assert.equal(page.requests()[0][0], 'old request');
    });

    it('is asked over HTTP where the library does', async () => {
        const page = openMeeting();
        const sent = [];

        page.global.fetch = (url, { body, headers }) => {
            sent.push([ url, body, headers.Authorization ]);

            return Promise.resolve({ ok: false, status: 503 });
        };
        Object.assign(page.connection.xmpp, { token: 'secret', moderator: {
            mode: 'http', targetUrl: 'https://meet/request', _createConferenceRequest: room => ({ room })
        } });
        page.chat(1);
        page.focusGoes();
        page.chat(3);
        assert.deepEqual(sent[0], [ 'https://meet/request', '{"room":"standup@muc"}', 'Bearer secret' ]);
        await new Promise(resolve => { setImmediate(resolve); });
        page.endTask();
        assert.deepEqual(page.asked(), [ [ 'focus_refused', 'HTTP 503' ] ]);
        assert.ok(!JSON.stringify(page.messages()).includes('secret'));
    });

    it('tells what the server answers, once for each answer', async () => {
        const page = openMeeting();
        const error = condition => ({ querySelector: () => ({ children: [ { tagName: condition } ] }) });
        const answer = async given => {
            page.requests().at(-1)[2](given);
            await new Promise(resolve => { setImmediate(resolve); });
            page.endTask();
        };

        page.chat(1);
        page.focusGoes();
        page.chat(3);
        await answer(error('not-authorized'));
        page.chat(20);
        await answer(error('not-authorized'));
        await answer(undefined);
        assert.deepEqual(page.asked(), [ [ 'focus_refused', 'not-authorized' ] ]);
        page.chat(20);
        await answer(undefined);
        assert.deepEqual(page.asked().at(-1), [ 'focus_refused', 'no answer' ]);
    });

    it('is told of what it answers to the library, in the words that say most', () => {
        const page = openRoom({ enter: false });
        const handled = [];
        const stanza = (...names) => ({ querySelector: () => ({ children: names.map(tagName => ({ tagName })) }) });

        page.connection.xmpp.moderator._handleIqError = (...args) => handled.push(args);
        page.hears();
        page.emit('Established', 'id');
        page.task(() => page.connection.xmpp.moderator._handleIqError('room', stanza('service-unavailable', 'graceful-shutdown')));
        page.task(() => page.connection.xmpp.moderator._handleIqError('room', undefined, 'resolve'));
        assert.deepEqual(page.told(/^hook\.focus/), [ [ 'focus_refused', 'graceful-shutdown' ], [ 'focus_refused', 'no answer' ] ]);
        assert.deepEqual(handled.map(args => args.length), [ 2, 3 ]);
    });

    it('is not asked back by a bot that is out of the room, offline, or does not know who is there', () => {
        for (const spoil of [
            page => { page.room.joined = false; },
            page => { page.xmpp.connected = false; },
            page => { page.room.room.members = undefined; }
        ]) {
            const page = openMeeting();

            page.chat(1);
            page.focusGoes();
            spoil(page);
            page.chat(30);
            assert.deepEqual(page.requests(), []);
        }
    });
});

describe('a media session in which the bridge is not heard', () => {
    it('is left alone while all is well', () => {
        const page = openMeeting();

        page.hear();
        for (let second = 0; second < 120; second += 1) {
            page.chat(1);
            page.task(() => page.room.rtc.say());
        }
        assert.deepEqual([ page.asked(), page.session.terminated ], [ [], [] ]);
    });

    it('is asked for anew 10 s later, and never more often than every 7 s', () => {
        const page = openMeeting();
        const ended = [];

        page.hear();
        page.chat(7); // it falls silent: told after 6 s
        page.session.terminate = (done, failed, options) => ended.push([ page.now, options ]);
        for (let second = 0; second < 280; second += 1) {
            const before = ended.length;

            page.chat(1);
            if (ended.length > before) {
                page.room.jvbJingleSession = Object.assign(new MediaSession(), { terminate: page.session.terminate });
            }
        }
        const times = ended.map(([ now ]) => now);
        const pauses = times.slice(1).map((time, index) => time - times[index]);

        assert.ok(times[0] >= 16_000 && times[0] <= 18_200, `${times[0]}`);
        assert.ok(times.length >= 5, `${times.length}`);
        assert.ok(Math.min(...pauses) >= 7000, `${pauses}`);
        assert.deepEqual([ ended[0][1].requestRestart, ended[0][1].sendSessionTerminate ], [ true, true ]);
        assert.deepEqual(page.asked().slice(0, 2), [ [ 'media_restart', { attempt: 1 } ], [ 'media_restart', { attempt: 2 } ] ]);
    });

    it('is in the library\'s hands until that gives up, or for a minute', () => {
        const page = openMeeting();

        page.session.iceState = 'failed';
        page.hear();
        page.chat(50);
        assert.deepEqual(page.session.terminated, []);
        page.task(() => page.room.emit('conference.failed', 'conference.iceFailed'));
        page.chat(2);
        assert.equal(page.session.terminated.length, 1);

        const other = openMeeting();

        other.session.iceState = 'checking';
        other.hear();
        other.chat(60);
        assert.deepEqual(other.session.terminated, []);
        other.chat(10);
        assert.equal(other.session.terminated.length, 1);
    });

    it('is asked for after what the library meant to do was cancelled', () => {
        const page = openMeeting();
        let cancelled = 0;

        page.room._delayedIceFailed = { cancel: () => { cancelled += page.session.terminated.length === 0; } };
        page.hear();
        page.chat(30);
        assert.equal(cancelled, 1);
    });

    it('is not asked for while the focus is away, but 10 s after it came', () => {
        const page = openMeeting();

        page.hear();
        page.chat(2);
        page.focusGoes();
        page.chat(60);
        assert.deepEqual(page.session.terminated, []);
        page.focusComes();
        page.chat(9);
        assert.deepEqual(page.session.terminated, []);
        page.chat(3);
        assert.equal(page.session.terminated.length, 1);
    });

    it('is given time once its media path is up, as a new one is', () => {
        const page = openMeeting();

        page.session.iceState = 'checking';
        page.hear();
        page.chat(40);
        page.session.iceState = 'connected';
        page.chat(8);
        assert.deepEqual(page.session.terminated, []);
        page.chat(5);
        assert.equal(page.session.terminated.length, 1);
    });

    it('that is gone is told when none came for 30 s, and now and then again', () => {
        const page = openMeeting();

        page.hear();
        page.chat(8);
        page.room.jvbJingleSession = null;
        page.chat(30);
        assert.deepEqual(page.asked(), []);
        page.chat(2);
        assert.deepEqual(page.asked(), [ [ 'media_missing', 'no media session' ] ]);
        page.chat(290);
        assert.equal(page.asked().length, 1);
        page.chat(20);
        assert.equal(page.asked().length, 2);
    });

    it('that is refused is told when none came for 30 s', () => {
        const page = openMeeting();

        page.hear();
        page.chat(50);
        assert.deepEqual(page.asked(), [ [ 'media_restart', { attempt: 1 } ], [ 'media_missing', 'no media session' ] ]);
    });

    it('that never helps is told after five minutes', () => {
        const page = openMeeting();

        page.session.terminate = () => undefined; // a new one comes at once, and is as deaf
        page.hear();
        page.chat(310);
        assert.deepEqual(page.asked().filter(([ what ]) => what === 'media_missing'),
            [ [ 'media_missing', 'the bridge is not heard in any session' ] ]);
    });
});

describe('a media path that broke', () => {
    it('of an earlier session is over when the present one has one', () => {
        const page = openMeeting();

        page.session.iceState = 'disconnected';
        page.task(() => page.room.emit('conference.connectionInterrupted'));
        page.chat(5);
        assert.deepEqual(page.told(/^hook\.media_path/), []);
        page.session.iceState = 'connected';
        page.chat(2);
        assert.equal(page.told(/^hook\.media_path/).length, 1);
        page.chat(5);
        assert.equal(page.told(/^hook\.media_path/).length, 1);
    });

    it('and is back by the library\'s word needs no other', () => {
        const page = openMeeting();

        page.session.iceState = 'disconnected';
        page.task(() => page.room.emit('conference.connectionInterrupted'));
        page.session.iceState = 'connected';
        page.task(() => page.room.emit('conference.connectionRestored'));
        page.chat(5);
        assert.deepEqual(page.told(/^hook\.media_path/), []);
    });
});

describe('a session of the server that can be resumed', () => {
    it('is tried for as long as there is a token', () => {
        const page = openMeeting();
        let token = 'token';

        page.xmpp._resumeTask = { _resumeRetryN: 3 };
        page.xmpp._stropheConn.streamManagement = { getResumeToken: () => token };
        page.chat(1);
        assert.equal(page.xmpp._resumeTask._resumeRetryN, 3);
        page.closeSocket();
        page.advance(1000);
        assert.equal(page.xmpp._resumeTask._resumeRetryN, 1);
        token = undefined;
        page.xmpp._resumeTask._resumeRetryN = 3;
        page.advance(2000);
        assert.equal(page.xmpp._resumeTask._resumeRetryN, 3);
    });
});
