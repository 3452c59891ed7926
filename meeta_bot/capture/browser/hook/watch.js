// Signs of life. One timer looks once a second at what a library tells late or never: whether the connection to the
// server stands and something arrives on it, whether the bridge is heard (bridge.js), and whether this page itself got
// time to run. What is looked at is internal to the library. Where it is missing or different, that sign is missing.
// The same looks are when what was lost is got back (revive.js, and the resumption of a stream, here).
(() => {
    'use strict';

    const meetaBot = globalThis.meetaBot ??= {};
    const TICK = 1000; // milliseconds between two looks

    // After this part of the silence that counts as a loss the server is asked whether it is there. The library asks
    // every 10 s, but leaves that out when something arrived meanwhile: a server that is well can be silent for 20 s.
    const ASK_AFTER = 0.75;

    /** One conference's connection and bridge channel. Neither throws into the library nor depends on its internals. */
    meetaBot.Watch = class Watch {
        /**
         * @param {object} connection - A JitsiConnection.
         * @param {meetaBot.Outbox} outbox
         */
        constructor(connection, outbox) {
            this.connection = connection;
            this.outbox = outbox;
            this.conference = null;
            this.stands = false; // logged in, and the library has not given up
            this.lost = null; // {at, closed}: the outage that was told and is not over
            this.heardAt = 0; // performance.now() when something last arrived from the server
            this.awakeAt = 0; // … from which on this page ran without a break
            this.askedAt = null; // … when the server was asked, since it last said something
            this.bridgeOpen = false;
            this.sockets = new WeakSet(); // whose closing is listened to
            this.stopped = false;
            this.hearing = new meetaBot.BridgeHearing(outbox);
            this.received = new meetaBot.ReceivedMedia(outbox);
            this.focus = new meetaBot.FocusCall(outbox);
            this.revival = new meetaBot.MediaRevival(outbox);
        }

        /** Nothing is told any more. */
        stop() {
            this.stopped = true;
        }

        /** The library says that the connection stands: for the first time, or again after it was lost. */
        established() {
            this.quietly(() => {
                const now = performance.now();

                if (!this.stands) {
                    this.stands = true;
                    this.heardAt = this.awakeAt = now;
                    this.xmpp()?.addEventListener?.('CONN_STATUS_CHANGED', () => this.look());
                } else if (this.lost === null) {
                    this.tellLost('closed', now); // it was over before anybody looked
                }
                this.lookAtSignalling();
            });
        }

        /** The library gives up something; if it is the connection, the session will not go on. */
        failed() {
            this.quietly(() => {
                this.lookAtSignalling();
                this.stands &&= !this.lost?.closed;
            });
        }

        /** This page got no time to run from `from` to `now`: what the server said meanwhile is yet to arrive. */
        slept(from, now) {
            const wall = Date.now();
            const ms = Math.round(now - from);

            this.awakeAt = now;
            if (!this.stopped) {
                this.outbox.push('hook.slept', [ { from_at: wall - ms, to_at: wall, ms } ]);
            }
        }

        look() {
            const now = performance.now();

            this.quietly(() => this.lookAtSignalling());
            if (this.conference) {
                this.quietly(() => this.lookAtBridge(now));
                this.quietly(() => this.focus.look(this.connection, this.conference, now));
                this.quietly(() => this.revival.look(this.conference, this.hearing, now));
                this.quietly(() => this.received.look(this.conference, now));
            }
        }

        /**
         * A conference begins, whose events are listened to already.
         *
         * @param {object} conference - A JitsiConference.
         */
        enter(conference) {
            this.conference = conference;
            this.received.unsubscribe(conference);
            conference.on('conference.joined', () => this.look());
            conference.on('conference.userJoined', () => this.look());
            conference.on('conference.dataChannelOpened', () => {
                this.quietly(() => this.hearing.opened(conference, performance.now()));
                this.quietly(() => this.received.opened(conference));
            });
            conference.on('conference.connectionInterrupted', () => this.revival.interrupted(true));
            conference.on('conference.connectionRestored', () => this.revival.interrupted(false));
            conference.on('conference.failed', error => {
                if (error === 'conference.iceFailed') {
                    this.quietly(() => this.revival.gaveUp(performance.now()));
                }
            });
        }

        quietly(work) {
            try {
                if (!this.stopped) {
                    work();
                }
            } catch {
                // Internals of the library are not as they were: this sign can't be had.
            }
        }

        /** The library's own connection (XmppConnection). */
        xmpp() {
            return this.connection?.xmpp?.connection;
        }

        lookAtSignalling() {
            const xmpp = this.xmpp();

            if (!this.stands || !xmpp || !('connected' in xmpp)) {
                return;
            }
            const now = performance.now();
            const connected = Boolean(xmpp.connected);

            // Libraries of 2021 tell of a closed connection nowhere as long as they can hope to resume it.
            this.lookWhenClosed(xmpp._stropheConn?._proto?.socket);
            const listening = this.hear(xmpp, now);

            if (this.lost) {
                this.lost.closed ||= !connected;
                this.keepResuming(xmpp);
                if (connected && (this.lost.closed || this.heardAt > this.lost.at)) {
                    this.lost = null;
                    this.heardAt = now;
                    this.outbox.push('hook.signalling_back', []);
                }
            } else if (!connected) {
                this.tellLost('closed', now);
            } else if (listening && this.isSilent(xmpp, now)) {
                this.tellLost('silent', now);
            }
        }

        tellLost(evidence, now) {
            this.lost = { at: now, closed: evidence === 'closed' };
            this.askedAt = null;
            this.outbox.push('hook.signalling_lost', [ { ago_ms: Math.round(now - this.heardAt), evidence } ]);
        }

        /** Takes note of what arrived; false where the library does not say. */
        hear(xmpp, now) {
            const ago = xmpp.getTimeSinceLastSuccess?.();

            // By the wall clock: after a jump back it is negative, after one forward too large, and then says nothing.
            if (ago >= 0 && ago !== null) {
                this.heardAt = Math.max(this.heardAt, now - ago);
            }

            return Number.isFinite(ago);
        }

        isSilent(xmpp, now) {
            const { silence } = meetaBot.limits;
            const quiet = now - Math.max(this.heardAt, this.awakeAt);

            if (quiet < ASK_AFTER * silence) {
                this.askedAt = null;
            } else if (this.askedAt === null) {
                this.ask(xmpp);
                this.askedAt = now;
            } else {
                return quiet >= silence && now - this.askedAt >= (1 - ASK_AFTER) * silence;
            }

            return false;
        }

        /** Any answer will do, also that it knows no pings. Throws where the library can't ask. */
        ask(xmpp) {
            const nothing = () => undefined;

            xmpp.ping.ping(xmpp.pingDomain ?? xmpp.domain, nothing, nothing, meetaBot.limits.silence);
        }

        /**
         * Keeps the library from giving up a session that the server may still keep: it tries three times, which is over
         * after 9 to 39 s, while a server waits for a minute. The server's own refusal takes the token away.
         */
        keepResuming(xmpp) {
            const task = xmpp._resumeTask;

            if (task?._resumeRetryN > 1 && xmpp._stropheConn?.streamManagement?.getResumeToken?.()) {
                task._resumeRetryN = 1;
            }
        }

        lookAtBridge(now) {
            const channel = this.conference.rtc?._channel;
            const open = Boolean(channel?.isOpen?.());

            this.lookWhenClosed(channel?._channel);
            this.hearing.look(this.conference, now, this.awakeAt);
            if (this.bridgeOpen && !open) { // a library tells it of a websocket, and not always
                this.outbox.push('hook.bridge_closed', []);
            }
            this.bridgeOpen = open;
        }

        /** Looks as soon as that socket closes, after the library has noticed. */
        lookWhenClosed(socket) {
            if (socket?.addEventListener && !this.sockets.has(socket)) {
                this.sockets.add(socket);
                socket.addEventListener('close', () => this.look());
            }
        }
    };

    /** How a page says that it lives, and how much it has told in each of its conferences. */
    function heartbeat(pageLoad, conferences, now) {
        const books = Array.from(conferences, ([ key, { outbox } ]) => [ key, ...outbox.books() ]);

        // Python tells it from a batch by how it begins.
        return JSON.stringify({ page_load: pageLoad, alive: now, wall_ms: Date.now(), conferences: books });
    }

    /**
     * Begins to look, for as long as the page is there.
     *
     * @param {Map<string, {outbox: meetaBot.Outbox, watch: meetaBot.Watch}>} conferences - By their keys; may change.
     * @param {string} pageLoad
     * @param {(text: string) => void} deliver - The binding.
     */
    meetaBot.keepWatch = (conferences, pageLoad, deliver) => {
        let lookedAt = performance.now();
        let toldAt = lookedAt;

        function tick() {
            const now = performance.now();
            const before = lookedAt;

            setTimeout(tick, TICK);
            lookedAt = now;
            if (now - before - TICK > meetaBot.limits.stall) {
                conferences.forEach(({ watch }) => watch.slept(before, now));
            }
            conferences.forEach(({ watch }) => watch.look());
            if (now - toldAt >= meetaBot.limits.heartbeat) {
                toldAt = now;
                try {
                    deliver(heartbeat(pageLoad, conferences, now));
                } catch {
                    // The binding is gone for the moment: that silence is what Python listens for.
                }
            }
        }

        setTimeout(tick, TICK);
    };
})();
