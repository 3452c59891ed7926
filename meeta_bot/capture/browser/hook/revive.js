// Gets back what the servers lost, from inside the room and unseen by the others: a conference focus that went away is
// asked back, and a media session that brings nothing is asked for anew. The libraries leave both to the web
// application, which reloads itself. Nothing here is done while all is well.
(() => {
    'use strict';

    const meetaBot = globalThis.meetaBot ??= {};
    const REQUEST_TIMEOUT = 10_000; // milliseconds until a focus that does not answer counts as away

    /** A pause that doubles with each try and differs from bot to bot, so that not all ask at once. */
    function pauseAfter(tries, first, longest) {
        return Math.min(longest, first * 2 ** Math.min(tries, 20)) * (0.75 + (0.5 * Math.random()));
    }

    /** Sends a conference request, by whichever way the library does; rejects with what the server said. */
    function requestConference(connection, conference) {
        const { moderator } = connection.xmpp.moderator ? connection.xmpp : conference.room;
        const room = conference.room.roomjid;

        if (moderator.mode === 'http') {
            const headers = { 'Content-Type': 'application/json' };

            if (connection.xmpp.token) {
                headers.Authorization = `Bearer ${connection.xmpp.token}`;
            }

            return fetch(moderator.targetUrl, {
                body: JSON.stringify(moderator._createConferenceRequest(room)),
                headers,
                method: 'POST',
                signal: AbortSignal.timeout(REQUEST_TIMEOUT)
            }).then(answer => answer.ok || Promise.reject(new Error(`HTTP ${answer.status}`)));
        }
        const request = moderator._createConferenceIq?.(room) ?? moderator.createConferenceIq();

        return new Promise((resolve, reject) => {
            connection.xmpp.connection.sendIQ(
                request, resolve, error => reject(new Error(conditionOf(error))), REQUEST_TIMEOUT);
        });
    }

    // What the focus adds to a condition that says less.
    const SAYS_MORE = [ 'graceful-shutdown', 'reservation-error', 'session-invalid' ];

    /** The condition of an error stanza (RFC 6120, 8.3), or what the focus calls it. */
    function conditionOf(error) {
        const names = Array.from(error?.querySelector?.('error')?.children ?? [], child => child.tagName);

        return SAYS_MORE.find(name => names.includes(name)) ?? names[0] ?? 'no answer';
    }

    /**
     * Tells what the focus answers to the library's own conference requests. Some libraries keep some answers to
     * themselves: that of the package registry of 2021 tells of none that ends its asking.
     *
     * @param {object} connection
     * @param {object} conference
     * @param {meetaBot.Outbox} outbox
     */
    meetaBot.tellRefusals = (connection, conference, outbox) => {
        const moderator = conference.room?.moderator ?? connection.xmpp?.moderator;

        for (const name of [ '_allocateConferenceFocusError', '_handleIqError' ]) {
            const handle = moderator?.[name];

            if (typeof handle === 'function') {
                moderator[name] = function refused(...args) {
                    outbox.push('hook.focus_refused', [ conditionOf(args.find(given => given?.querySelector)) ]);

                    return handle.apply(this, args);
                };
            }
        }
    };

    /**
     * Asks the conference focus back. A focus that was begun anew does nothing by itself: it comes when some client
     * asks for the conference, and then invites everybody. Meanwhile the room, chat and presence live on.
     */
    meetaBot.FocusCall = class FocusCall {
        /** @param {meetaBot.Outbox} outbox */
        constructor(outbox) {
            this.outbox = outbox;
            this.wasHere = false;
            this.awaySince = null;
            this.dueAt = null;
            this.tries = 0;
            this.answer = null; // the last that was told
        }

        look(connection, conference, now) {
            const room = conference.room;

            if (!conference.isJoined?.() || !room?.members || !room.roomjid || !connection.xmpp?.connection?.connected) {
                return;
            }
            if (`${room.roomjid}/focus` in room.members) {
                this.isHere(now);
            } else if (this.wasHere) {
                this.isAway(connection, conference, now);
            }
        }

        isHere(now) {
            this.wasHere = true;
            if (this.awaySince !== null) {
                this.outbox.push('hook.focus_back', [ { away_ms: Math.round(now - this.awaySince), asked: this.tries } ]);
                this.awaySince = this.dueAt = this.answer = null;
                this.tries = 0;
            }
        }

        isAway(connection, conference, now) {
            const { focusAsk, focusAskLongest } = meetaBot.limits;

            this.awaySince ??= now;
            this.dueAt ??= now + pauseAfter(0, focusAsk, focusAskLongest);
            if (now >= this.dueAt) {
                this.tries += 1;
                this.dueAt = now + pauseAfter(this.tries, focusAsk, focusAskLongest);
                requestConference(connection, conference).catch(error => this.refused(error));
            }
        }

        refused(error) {
            const answer = meetaBot.problemText(error);

            if (this.awaySince !== null && answer !== this.answer) {
                this.answer = answer;
                this.outbox.push('hook.focus_refused', [ answer ]);
            }
        }
    };

    /** Whether a session's media path is up; false where that can't be seen. */
    function hasMedia(session) {
        return [ 'connected', 'completed' ].includes(session?.getIceConnectionState?.());
    }

    /**
     * Asks for a new media session when the bridge is not heard. The focus allows one such request in 5 s and 5 a
     * minute; one too many costs the session for good. It is left alone while it, or the library, may act by itself.
     */
    meetaBot.MediaRevival = class MediaRevival {
        /** @param {meetaBot.Outbox} outbox */
        constructor(outbox) {
            this.outbox = outbox;
            this.session = null;
            this.sessionAt = null; // performance.now() when that one was first seen, or that there is none
            this.gaveUpAt = null; // … when the library said that it does nothing more
            this.connectedAt = null; // … when its media path came up
            this.isInterrupted = false; // the library said that a media path broke, and not that it is back
            this.dueAt = null;
            this.tries = 0;
            this.toldAt = null; // … when it was told that no session comes
        }

        /** The library said that its media path is lost for good (conference.iceFailed). */
        gaveUp(now) {
            this.gaveUpAt = now;
        }

        /** The library said that a media path broke (true), or that it is back (false). */
        interrupted(isInterrupted) {
            this.isInterrupted = isInterrupted;
        }

        /**
         * @param {object} conference
         * @param {meetaBot.BridgeHearing} hearing
         * @param {number} now
         */
        look(conference, hearing, now) {
            this.take(conference.jvbJingleSession, now);
            const { session } = this;

            if (hearing.lostAt === null) {
                this.dueAt = this.toldAt = null;
                this.tries = 0;
            } else if (!(`${conference.room?.roomjid}/focus` in (conference.room?.members ?? {}))) {
                this.dueAt = null; // nobody to ask: the focus is asked back first
            } else if (session) {
                this.renew(conference, session, hearing, now);
            } else if (now - Math.max(this.sessionAt ?? now, hearing.toldAt) >= meetaBot.limits.mediaInvitation) {
                this.tellMissing('no media session', now);
            }
        }

        /** Notes which session there is, and whether it has a media path. */
        take(found, now) {
            const session = found && found.state !== 'ended' ? found : null;

            if (session !== this.session) {
                this.session = session;
                this.sessionAt = now;
                this.gaveUpAt = this.connectedAt = null;
            }
            this.connectedAt = hasMedia(session) ? this.connectedAt ?? now : null;
            if (this.isInterrupted && this.connectedAt !== null) {
                // It is the path of an earlier session that broke: libraries leave those open, and never say that
                // they are back.
                this.isInterrupted = false;
                this.outbox.push('hook.media_path', []);
            }
        }

        renew(conference, session, hearing, now) {
            const { mediaRestart, mediaRestartLongest, mediaGiveUp } = meetaBot.limits;

            this.dueAt ??= now + mediaRestart;
            if (this.isInOtherHands(session, hearing, now)) {
                this.dueAt = Math.max(this.dueAt, now + 1);
            } else if (now >= Math.max(this.dueAt, (this.connectedAt ?? this.sessionAt) + mediaRestart)) {
                this.tries += 1;
                this.dueAt = now + pauseAfter(this.tries, mediaRestart, mediaRestartLongest);
                this.restart(conference, session);
            }
            if (now - hearing.toldAt >= mediaGiveUp) {
                this.tellMissing('the bridge is not heard in any session', now);
            }
        }

        /** Whether the library may still act: until it gave up, or for as long as it ever takes. */
        isInOtherHands(session, hearing, now) {
            return !hasMedia(session) && this.gaveUpAt === null
                && now - Math.max(hearing.toldAt, this.sessionAt) < meetaBot.limits.libraryGivesUp;
        }

        restart(conference, session) {
            const nothing = () => undefined;

            conference._delayedIceFailed?.cancel?.(); // it would end the next session, too early
            this.outbox.push('hook.media_restart', [ { attempt: this.tries } ]);
            session.terminate(nothing, nothing, {
                reason: 'connectivity-error',
                reasonDescription: 'the bridge is not heard',
                requestRestart: true,
                sendSessionTerminate: true
            });
            conference.rtc?.onCallEnded?.(); // else a websocket of the old session would be dialled on and on
        }

        /** Only leaving and entering the room may bring a session then, which is not decided here. */
        tellMissing(evidence, now) {
            if (this.toldAt === null || now - this.toldAt >= meetaBot.limits.mediaGiveUp) {
                this.toldAt = now;
                this.outbox.push('hook.media_missing', [ evidence ]);
            }
        }
    };
})();
