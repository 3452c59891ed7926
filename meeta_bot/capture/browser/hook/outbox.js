// What a conference has to tell Python waits here until Python has it on disk. Batches go through one binding; each
// is kept until it is acknowledged and sent again when no acknowledgement comes. The buffer is bounded: what does
// not fit is counted, and the count is told as soon as there is room. Each call has a price of its own, on our side and
// on Python's: after one, what follows closely gathers for the length of a pause and shares the next.
(() => {
    'use strict';

    const meetaBot = globalThis.meetaBot ??= {};

    const DEFAULTS = {
        batch: 100, window: 4, messages: 50000, bytes: 67108864, pause: 5, resend: 3000, text: 1048576,
        silence: 15000, heartbeat: 5000, stall: 5000,
        bridgeAsk: 2000, bridgeSilence: 4000, bridgeFirstWord: 2000, bridgeOpen: 5000, bridgeInvitation: 10000,
        focusAsk: 1000, focusAskLongest: 10000, mediaRestart: 10000, mediaRestartLongest: 60000, mediaInvitation: 30000, libraryGivesUp: 60000,
        mediaGiveUp: 300000, receivedInterval: 60000, receivedBytes: 1000
    };

    /** The limits in force; Python sets its own through `meetaBot.configure`. */
    meetaBot.limits = { ...DEFAULTS };
    meetaBot.configure = limits => Object.assign(meetaBot.limits, limits);

    meetaBot.Outbox = class Outbox {
        /**
         * @param {string} conference - The key that Python knows this conference by.
         * @param {string} pageLoad - A name for this load of the page; numbering starts anew with each.
         * @param {(batch: string) => void} deliver - The binding.
         */
        constructor(conference, pageLoad, deliver) {
            this.conference = conference;
            this.pageLoad = pageLoad;
            this.deliver = deliver;
            this.lastSeq = 0;
            this.fresh = []; // messages of the running task, not written yet
            this.waiting = []; // {seq, text}: all that is not acknowledged, in order
            this.bytes = 0;
            this.sent = 0; // how many of `waiting` are on their way
            this.batchEnds = []; // the last seq of each batch on its way
            this.serverTime = null; // when the server had the stanza that the running task is about, if that came late
            this.goodbyes = new Map(); // what that stanza says of who leaves: endpoint id → {text, codes}
            this.overflow = null; // {missed, from_at, to_at} while the buffer is full
            this.missed = 0; // all that ever found no room
            this.sentAt = -Infinity; // performance.now() of the last call
            this.scheduled = false;
            this.gathering = null; // the timer that ends the pause
            this.timer = null;
        }

        /**
         * Takes one message. `args` must be JSON-safe already.
         *
         * @param {string} origin
         * @param {Array<unknown>} args
         */
        push(origin, args) {
            const held = this.waiting.length + this.fresh.length;

            if (held >= meetaBot.limits.messages || this.bytes >= meetaBot.limits.bytes) {
                const now = Date.now();

                this.overflow ??= { missed: 0, from_at: now, to_at: now };
                this.overflow.missed += 1;
                this.missed += 1;
                this.overflow.to_at = now;

                return;
            }
            this.tellOverflow();
            this.append(origin, args);
            this.schedule();
        }

        /** How many messages were given a number, of them are not acknowledged yet, and found no room. */
        books() {
            return [ this.lastSeq, this.waiting.length + this.fresh.length, this.missed ];
        }

        append(origin, args) {
            const late = this.serverTime === null ? [] : [ this.serverTime ];

            this.fresh.push([ ++this.lastSeq, Date.now(), performance.now(), origin, args, ...late ]);
        }

        /**
         * What the messages from here on are about; nothing in particular without arguments.
         *
         * @param {?number} serverTime - Milliseconds.
         * @param {Map<string, {text: ?string, codes: number[]}>} goodbyes
         */
        about(serverTime = null, goodbyes = new Map()) {
            this.serverTime = serverTime;
            this.goodbyes = goodbyes;
        }

        /** Writes the messages of the task that ends: from here on nothing changes them. */
        write() {
            for (const message of this.fresh) {
                const text = JSON.stringify(message);

                this.waiting.push({ seq: message[0], text });
                this.bytes += text.length;
            }
            this.fresh = [];
        }

        tellOverflow() {
            if (this.overflow) {
                const told = this.overflow;

                this.overflow = null;
                this.append('hook.overflow', [ told ]);
            }
        }

        /** Writes at the end of the running task, so that what one stanza causes travels together. */
        schedule() {
            if (!this.scheduled) {
                this.scheduled = true;
                queueMicrotask(() => {
                    this.scheduled = false;
                    this.write();
                    this.sendOrGather();
                });
            }
        }

        /** Sends at once, unless the last call was just now and a batch is not full yet. */
        sendOrGather() {
            const pause = this.sentAt + meetaBot.limits.pause - performance.now();

            if (pause <= 0 || this.waiting.length - this.sent >= meetaBot.limits.batch) {
                this.send();
            } else {
                this.gathering ??= setTimeout(() => this.send(), pause);
            }
        }

        send() {
            clearTimeout(this.gathering);
            this.gathering = null;
            this.write();
            while (this.sent < this.waiting.length && this.batchEnds.length < meetaBot.limits.window) {
                const batch = this.waiting.slice(this.sent, this.sent + meetaBot.limits.batch);

                try {
                    this.deliver(`{"conference":${JSON.stringify(this.conference)},"page_load":"${this.pageLoad}",`
                        + `"messages":[${batch.map(message => message.text).join(',')}]}`);
                } catch {
                    break; // the binding is gone for the moment; the timer tries again
                }
                this.sentAt = performance.now();
                this.sent += batch.length;
                this.batchEnds.push(batch[batch.length - 1].seq);
            }
            this.watch();
        }

        /** Starts the clock for the oldest batch without acknowledgement. */
        watch() {
            if (this.timer === null && this.waiting.length > 0) {
                this.timer = setTimeout(() => {
                    this.timer = null;
                    this.rewind();
                }, meetaBot.limits.resend);
            }
        }

        /** Forgets everything and takes nothing more. */
        close() {
            clearTimeout(this.timer);
            clearTimeout(this.gathering);
            this.deliver = () => undefined;
            this.push = () => undefined;
            this.fresh = [];
            this.waiting = [];
        }

        /** Sends everything that is not acknowledged once more. */
        rewind() {
            this.sent = 0;
            this.batchEnds = [];
            this.send();
        }

        /**
         * Forgets the messages up to and including `seq`: Python has them on disk.
         *
         * @param {number} seq
         */
        acknowledge(seq) {
            let count = 0;

            while (count < this.waiting.length && this.waiting[count].seq <= seq) {
                this.bytes -= this.waiting[count].text.length;
                count += 1;
            }
            this.waiting.splice(0, count);
            this.sent = Math.max(0, this.sent - count);
            this.batchEnds = this.batchEnds.filter(end => end > seq);
            if (count > 0 && this.timer !== null) {
                clearTimeout(this.timer);
                this.timer = null;
            }
            if (count > 0) {
                this.tellOverflow();
            }
            this.send();
        }
    };
})();
