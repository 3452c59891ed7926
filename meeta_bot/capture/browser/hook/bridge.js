// Hears the bridge. Its channel may be a websocket or a data channel (SCTP); the second does not close when its bridge
// dies, either can be open and carry nothing, and none may ever open. So what counts is the last word of the bridge: it
// answers ClientHello by ServerHello at any time, and is asked when it said nothing for a while. What is looked at is
// internal to the library; where it can't be reached, the library is believed that says that the channel is open.
(() => {
    'use strict';

    const meetaBot = globalThis.meetaBot ??= {};
    const QUESTION = JSON.stringify({ colibriClass: 'ClientHello' });

    /** The bridge half of what one conference hears. Call `look` once a second, and when something happened. */
    meetaBot.BridgeHearing = class BridgeHearing {
        /** @param {meetaBot.Outbox} outbox */
        constructor(outbox) {
            this.outbox = outbox;
            this.neededAt = null; // performance.now() since when others are in the room with the bot
            this.invitedAt = null; // … when a media session was first seen since then
            this.channel = null; // the socket or data channel at hand
            this.openedAt = null; // … when it was first seen open
            this.askedAt = null; // … when the bridge was asked, since it last said something
            this.heardAt = null; // … when it last said something, on any channel
            this.heardOn = null; // the channel on which it last did
            this.lostAt = null; // since when it is not heard, once that was told
            this.toldAt = null; // … when that was told
            this.channels = new WeakSet(); // those that are listened to
            this.known = new WeakSet(); // those on which something was heard
        }

        /**
         * @param {object} conference - A JitsiConference.
         * @param {number} now
         * @param {number} awakeAt - From when on this page ran without a break: earlier words may be yet to arrive.
         */
        look(conference, now, awakeAt) {
            this.take(conference.rtc?._channel?._channel ?? null);
            if (!conference.isJoined?.() || !(conference.getParticipantCount?.() > 1)) {
                this.rest();

                return;
            }
            this.neededAt ??= now;
            if (conference.jvbJingleSession) {
                this.invitedAt ??= now;
            }
            const open = Boolean(conference.rtc?._channel?.isOpen?.());

            this.openedAt = open ? this.openedAt ?? now : null;
            if (open) {
                this.askIfSilent(now, awakeAt);
            }
            const evidence = this.problem(open, now, awakeAt);

            if (evidence !== null && this.lostAt === null) {
                this.tellLost(evidence, now);
            }
        }

        tellLost(evidence, now) {
            this.lostAt = Math.max(this.neededAt, this.heardAt ?? this.neededAt);
            this.toldAt = now;
            this.outbox.push('hook.bridge_lost', [ { ago_ms: Math.round(now - this.lostAt), evidence } ]);
        }

        /**
         * The library says that its channel is open. Where that channel is out of our reach, it has to be believed.
         *
         * @param {object} conference
         * @param {number} now
         */
        opened(conference, now) {
            if (conference.rtc?._channel?._channel?.addEventListener) {
                this.take(conference.rtc._channel._channel);
                this.openedAt = now;
                this.ask(now);
            } else {
                this.word({}, now);
            }
        }

        /** Nobody is there to be heard: bridges close the channels of those who are alone. */
        rest() {
            if (this.neededAt !== null) {
                this.outbox.push('hook.bridge_idle', []);
            }
            this.neededAt = this.invitedAt = this.lostAt = this.askedAt = null;
            this.heardAt = this.heardOn = null;
        }

        take(channel) {
            if (channel === this.channel) {
                return;
            }
            this.channel = channel;
            this.openedAt = this.askedAt = null;
            if (channel?.addEventListener && !this.channels.has(channel)) {
                this.channels.add(channel);
                // Captured, so that it is told before what the library makes of the same message.
                channel.addEventListener('message', () => this.word(channel, performance.now()), true);
            }
        }

        word(channel, now) {
            const isNew = !this.known.has(channel);

            if (isNew && this.channels.has(this.heardOn) && this.lostAt === null && this.neededAt !== null) {
                this.tellLost('closed', now); // another channel took the place of the last one before anybody looked
            }
            this.known.add(channel);
            this.heardAt = now;
            this.askedAt = null;
            this.heardOn = channel;
            if (isNew || this.lostAt !== null) {
                this.lostAt = this.toldAt = null;
                this.outbox.push('hook.bridge_heard', [ { channel: isNew ? 'new' : 'same' } ]);
            }
        }

        askIfSilent(now, awakeAt) {
            const since = Math.max(this.heardOn === this.channel ? this.heardAt : this.openedAt, awakeAt);

            if (this.askedAt === null && (this.openedAt === now || now - since >= meetaBot.limits.bridgeAsk)) {
                this.ask(now);
            }
        }

        ask(now) {
            this.askedAt = now;
            try {
                this.channel?.send(QUESTION);
            } catch {
                // It is closing: that is seen at the next look.
            }
        }

        /** How it is known that the bridge is not heard; null when it is, or when it is too early to say. */
        problem(open, now, awakeAt) {
            const { bridgeSilence, bridgeFirstWord, bridgeOpen, bridgeInvitation } = meetaBot.limits;
            const waited = from => now - Math.max(from, awakeAt);

            if (this.heardOn !== null && this.heardOn !== this.channel && this.channels.has(this.heardOn)) {
                return 'closed';
            }
            if (open && this.channel) {
                const isFirst = this.heardOn === null;

                return this.askedAt !== null && waited(this.askedAt) >= (isFirst ? bridgeFirstWord : bridgeSilence)
                    ? isFirst ? 'mute' : 'silent' : null;
            }
            if (this.heardOn !== null) {
                return this.channels.has(this.heardOn) ? 'closed' : null;
            }
            if (this.invitedAt === null) {
                return waited(this.neededAt) >= bridgeInvitation ? 'uninvited' : null;
            }

            return waited(this.invitedAt) >= bridgeOpen ? 'unopened' : null;
        }
    };
})();
