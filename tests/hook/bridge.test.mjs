// meeta_bot/capture/browser/hook/bridge.js and received.js: whether the bridge is heard, and what it sends besides.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { MediaSession } from './library.mjs';
import { plain } from './page.mjs';
import { openRoom } from './room.mjs';

/** The bot in a room with Ada, invited to the bridge unless `invited` says no; signalling is well. */
function openMeeting({ invited = true, ...options } = {}) {
    const page = openRoom(options);
    const conference = page.conference();

    Object.assign(conference, { joined: true, participants: [ 'ada' ] });
    if (invited) {
        conference.jvbJingleSession = new MediaSession();
    }
    page.task(() => conference.emit('conference.joined'));
    page.rtc = conference.rtc;
    page.open = () => page.task(() => {
        page.rtc.open();
        conference.emit('conference.dataChannelOpened');
    });
    page.say = () => page.task(() => page.rtc.say());
    page.hear = () => {
        page.open();
        page.say();
    };
    /** Lets seconds pass in which the bridge answers whenever it is asked. */
    page.listen = seconds => {
        for (let second = 0; second < seconds; second += 1) {
            const asked = page.rtc._channel._channel.sent.length;

            page.chat(1);
            if (page.rtc._channel._channel.sent.length > asked) {
                page.say();
            }
        }
    };
    page.bridge = () => page.told(/^hook\.bridge/);

    return page;
}

describe('a bridge', () => {
    it('is heard with the first word on its channel, not when that opens', () => {
        const page = openMeeting();

        page.open();
        assert.deepEqual([ page.bridge(), page.rtc._channel._channel.sent ], [ [], [ 'ClientHello' ] ]);
        page.say();
        assert.deepEqual(page.bridge(), [ [ 'bridge_heard', { channel: 'new' } ] ]);
        page.say();
        page.listen(60);
        assert.equal(page.bridge().length, 1);
    });

    it('that falls silent is asked, and is lost since its last word when it does not answer', () => {
        const page = openMeeting();

        page.hear();
        page.chat(1);
        page.say();
        page.chat(2);
        assert.equal(page.rtc._channel._channel.sent.length, 2);
        page.chat(3);
        assert.equal(page.bridge().length, 1);
        page.chat(1);
        assert.deepEqual(page.bridge().slice(1), [ [ 'bridge_lost', { ago_ms: 6000, evidence: 'silent' } ] ]);
        page.chat(60);
        assert.equal(page.bridge().length, 2);
        page.say();
        assert.deepEqual(page.bridge().at(-1), [ 'bridge_heard', { channel: 'same' } ]);
    });

    it('whose channel closes is lost since its last word, told before the closing', () => {
        const page = openMeeting();

        page.hear();
        page.chat(1);
        page.task(() => page.rtc.close());
        const lost = [ 'bridge_lost', { ago_ms: 1000, evidence: 'closed' } ];

        assert.deepEqual(page.bridge().slice(1), [ lost, [ 'bridge_closed' ] ]);
        page.chat(5);
        page.hear();
        assert.deepEqual(page.bridge().slice(3), [ [ 'bridge_heard', { channel: 'new' } ] ]);
    });

    it('whose channel is replaced before anybody looked is lost in between', () => {
        const page = openMeeting();

        page.hear();
        page.chat(1);
        page.task(() => page.rtc.open());
        page.chat(1);
        assert.deepEqual(page.bridge().slice(1), [ [ 'bridge_lost', { ago_ms: 2000, evidence: 'closed' } ] ]);
    });

    it('whose channel is replaced and heard within a second was lost since its last word on the old one', () => {
        const page = openMeeting();

        page.hear();
        page.chat(1);
        page.advance(400);
        page.hear();
        const lost = [ 'bridge_lost', { ago_ms: 1400, evidence: 'closed' } ];

        assert.deepEqual(page.bridge().slice(1), [ lost, [ 'bridge_heard', { channel: 'new' } ] ]);
    });

    it('that was never heard on an open channel is lost since it was needed', () => {
        const page = openMeeting();

        page.chat(1);
        page.open();
        page.chat(1);
        assert.deepEqual(page.bridge(), []);
        page.chat(1);
        assert.deepEqual(page.bridge(), [ [ 'bridge_lost', { ago_ms: 3000, evidence: 'mute' } ] ]);
        page.say();
        assert.deepEqual(page.bridge().at(-1), [ 'bridge_heard', { channel: 'new' } ]);
    });

    it('whose channel does not open is lost 5 s after the invitation, since it was needed', () => {
        const page = openMeeting({ invited: false });

        page.chat(2);
        page.conference().jvbJingleSession = new MediaSession();
        page.chat(5);
        assert.deepEqual(page.bridge(), []);
        page.chat(1);
        assert.deepEqual(page.bridge(), [ [ 'bridge_lost', { ago_ms: 8000, evidence: 'unopened' } ] ]);
    });

    it('that nobody invites to is lost 10 s after somebody was there', () => {
        const page = openMeeting({ invited: false });

        page.chat(9);
        assert.deepEqual(page.bridge(), []);
        page.chat(1);
        assert.deepEqual(page.bridge(), [ [ 'bridge_lost', { ago_ms: 10_000, evidence: 'uninvited' } ] ]);
    });

    it('is not needed by a bot that is alone, and anew from when somebody comes', () => {
        const page = openMeeting();

        page.hear();
        page.conference().participants = [];
        page.chat(1);
        page.task(() => page.rtc.close());
        page.chat(60);
        assert.deepEqual(page.bridge().slice(1), [ [ 'bridge_idle' ], [ 'bridge_closed' ] ]);
        page.conference().participants = [ 'ben' ];
        page.task(() => page.conference().emit('conference.userJoined', 'ben', {}));
        page.chat(5);
        assert.deepEqual(page.bridge().slice(3), [ [ 'bridge_lost', { ago_ms: 5000, evidence: 'unopened' } ] ]);
    });

    it('whose channel outlives a time alone is asked at once, and is no new one', () => {
        const page = openMeeting();

        page.hear();
        page.conference().participants = [];
        page.chat(10);
        page.conference().participants = [ 'ben' ];
        page.chat(1);
        page.say();
        page.listen(20);
        assert.deepEqual(page.bridge().map(([ what ]) => what), [ 'bridge_heard', 'bridge_idle' ]);
    });

    it('is not lost because the page got no time to hear it', () => {
        const page = openMeeting();

        page.hear();
        page.listen(5);
        page.freeze(60_000);
        page.say();
        page.listen(10);
        assert.equal(page.bridge().length, 1);
    });

    it('is not listened to any more when the bot leaves', () => {
        const page = openMeeting();

        page.hear();
        page.task(() => page.meetaBot.leave('capture-1.1'));
        page.task(() => page.rtc.close());
        page.chat(60);
        assert.equal(page.bridge().length, 1);
    });

    it('whose channel is out of reach is heard when the library says that it is open', () => {
        const page = openMeeting();

        page.rtc._channel = null;
        page.task(() => page.conference().emit('conference.dataChannelOpened'));
        page.chat(60);
        assert.deepEqual(page.bridge(), [ [ 'bridge_heard', { channel: 'new' } ] ]);
        page.task(() => page.conference().emit('conference.dataChannelOpened'));
        assert.equal(page.bridge().length, 2);
    });

    it('whose channel throws when it is asked is quietly lost', () => {
        const page = openMeeting();

        page.hear();
        page.rtc._channel._channel.send = () => { throw new Error('closing'); };
        page.chat(10);
        assert.equal(page.bridge().at(-1)[1].evidence, 'silent');
        assert.ok(!page.messages().some(({ origin }) => origin === 'hook.error'));
    });
});

describe('media that is not wanted', () => {
    const statistics = (bytes, audio = 0, messages = 0) => new Map([
        [ 'T', { type: 'transport', bytesReceived: bytes } ],
        [ 'D', { type: 'data-channel', bytesReceived: messages } ],
        [ 'A', { type: 'inbound-rtp', kind: 'audio', bytesReceived: audio } ]
    ]);

    /** A peer connection that has received so much at each reading. */
    function receive(page, ...readings) {
        const connection = { getStats: () => ({ then: take => {
            take(readings.shift() ?? statistics(0));

            return { catch: () => undefined };
        } }) };

        page.conference().jvbJingleSession = Object.assign(new MediaSession(),
            { peerconnection: { peerconnection: connection } });
    }

    const received = page => page.told(/^hook\.media_received/);

    it('is refused in the words that the library has', () => {
        const page = openMeeting();

        assert.deepEqual(plain(page.conference().wanted), { mode: 'None', all: false, include: [], exclude: [] });
        page.open();
        assert.deepEqual(page.rtc._channel._channel.sent, [ 'ClientHello' ]);
    });

    it('is refused on the channel itself where the library has no words', () => {
        const page = openMeeting();

        page.conference().setAudioSubscriptionMode = undefined;
        page.open();
        assert.deepEqual(page.rtc._channel._channel.sent, [ 'ClientHello', 'ReceiverAudioSubscription' ]);
    });

    it('is told when it comes all the same', () => {
        const page = openMeeting({ limits: { receivedInterval: 10_000 } });

        page.hear();
        receive(page, statistics(1000), statistics(91_000, 80_000), statistics(92_000, 80_000));
        page.listen(30);
        const told = { seconds: 10, bytes: 90_000, audio_bytes: 80_000, video_bytes: 0 };

        assert.deepEqual(received(page), [ [ 'media_received', told ] ]);
    });

    it('is not what the bridge channel brings', () => {
        const page = openMeeting({ limits: { receivedInterval: 10_000 } });

        page.hear();
        receive(page, statistics(0), statistics(140_000, 0, 100_000));
        page.listen(20);
        assert.deepEqual(received(page), []);
    });

    it('is counted from the beginning for each media session', () => {
        const page = openMeeting({ limits: { receivedInterval: 10_000 } });

        page.hear();
        receive(page, statistics(5_000_000));
        page.listen(5);
        receive(page, statistics(9_000_000));
        page.listen(10);
        assert.deepEqual(received(page), []);
    });
});
