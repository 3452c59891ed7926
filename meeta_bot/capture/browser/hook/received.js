// Sees to it that the bot receives neither sound nor picture, and measures whether that is so. A bridge forwards
// everybody's audio until it is told not to; video is turned down with last-n (join.js).
(() => {
    'use strict';

    const meetaBot = globalThis.meetaBot ??= {};

    // Libraries and bridges of some years took a mode, those since want the lists: both take what they know.
    const NO_AUDIO = { mode: 'None', all: false, include: [], exclude: [] };

    // What a data channel costs beside its messages (SCTP, DTLS), as a part of them; measured with short messages.
    const CHANNEL_OVERHEAD = 0.5;

    meetaBot.ReceivedMedia = class ReceivedMedia {
        /** @param {meetaBot.Outbox} outbox */
        constructor(outbox) {
            this.outbox = outbox;
            this.last = null; // the last reading: {connection, at, bytes, audio, video}
            this.readAt = null;
        }

        /**
         * Wants no audio. The library says so to every bridge channel that opens; an old one has no words for it.
         *
         * @param {object} conference
         */
        unsubscribe(conference) {
            try {
                conference.setAudioSubscriptionMode?.(NO_AUDIO);
            } catch {
                // Measured below.
            }
        }

        /** A bridge channel opened. */
        opened(conference) {
            if (!conference.setAudioSubscriptionMode) {
                try {
                    conference.rtc._channel._channel.send(
                        JSON.stringify({ colibriClass: 'ReceiverAudioSubscription', ...NO_AUDIO }));
                } catch {
                    // Measured below.
                }
            }
        }

        look(conference, now) {
            const connection = conference.jvbJingleSession?.peerconnection?.peerconnection;

            if (connection?.getStats && now - (this.readAt ?? -Infinity) >= meetaBot.limits.receivedInterval) {
                this.readAt = now;
                connection.getStats().then(report => this.compare(connection, report, now)).catch(() => undefined);
            }
        }

        compare(connection, report, now) {
            const reading = { connection, at: now, ...sums(report) };
            const before = this.last;

            this.last = reading;
            if (before?.connection !== connection) {
                return;
            }
            const seconds = (now - before.at) / 1000;
            const bytes = Math.round(reading.bytes - before.bytes);

            if (bytes / seconds > meetaBot.limits.receivedBytes) {
                this.outbox.push('hook.media_received', [ {
                    seconds: Math.round(seconds),
                    bytes,
                    audio_bytes: reading.audio - before.audio,
                    video_bytes: reading.video - before.video
                } ]);
            }
        }
    };

    /** Bytes that arrived beside the data channels, and those of them that are known to be audio or video. */
    function sums(report) {
        const found = { bytes: 0, audio: 0, video: 0 };

        report.forEach(item => {
            if (item.type === 'transport') {
                found.bytes += item.bytesReceived ?? 0;
            } else if (item.type === 'data-channel') {
                found.bytes -= (1 + CHANNEL_OVERHEAD) * (item.bytesReceived ?? 0);
            } else if (item.type === 'inbound-rtp' && item.kind in found) {
                found[item.kind] += item.bytesReceived ?? 0;
            }
        });

        return found;
    }
})();
