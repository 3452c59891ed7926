// A stand-in for lib-jitsi-meet, for benchmarks: test equipment. It joins at once, without a server, and emits what a
// busy meeting of twenty makes the library emit, as fast as the server says. Every event of a load becomes one event of
// the log. When each was emitted is the answer, on the wall clock with the resolution of `performance.now()`.
(() => {
    'use strict';

    const PEOPLE = 20;
    const TEXT = 'The figures for the third quarter are in the shared folder; could everybody have a look at the second '
        + 'page before we go on? I think that the forecast for the north is too low, and Ana said the same last week. ';
    const endpoints = Array.from({ length: PEOPLE }, (_, n) => (0xa1b2c3d0 + (n * 7919)).toString(16));

    class Emitter {
        constructor() {
            this.listeners = new Map();
        }

        on(event, listener) {
            this.listeners.set(event, [ ...this.listeners.get(event) ?? [], listener ]);
        }

        emit(event, ...args) {
            (this.listeners.get(event) ?? []).forEach(listener => listener(...args));
        }
    }

    const participant = (id, n) => ({
        getId: () => id,
        getJid: () => `room@conference.bench.example/${id}`,
        getDisplayName: () => `Participant number ${n + 1}`,
        getRole: () => n === 0 ? 'moderator' : 'participant',
        getStatsID: () => `Stats-${n}`,
        isHidden: () => false
    });

    /** What clients send each other about their connection, as in meetings with simulcast and three layers. */
    function statistics(n) {
        const layer = (width, fps) => ({ width, height: width * 9 / 16, fps: fps + (n % 3) });
        const codec = { audio: 'opus', video: n % 2 ? 'VP8' : 'AV1' };

        return {
            avgAudioLevels: { local: 0.0123 * (n % 7) },
            bitrate: {
                audio: { download: 40 + (n % 9), upload: 38 + (n % 5) },
                download: 2310 + (n % 400),
                upload: 1830 + (n % 300),
                video: { download: 2270 + (n % 400), upload: 1790 + (n % 300) }
            },
            codec: { [endpoints[0]]: codec, [endpoints[1]]: codec, [endpoints[2]]: codec },
            connectionQuality: 100 - (n % 17) / 4,
            framerate: { [endpoints[0]]: { 128412: 30 }, [endpoints[1]]: { 991823: 29 }, [endpoints[2]]: { 77123: 15 } },
            jvbRTT: 12 + (n % 90),
            maxEnabledResolution: 720,
            packetLoss: { download: n % 3, total: n % 4, upload: n % 2 },
            resolution: {
                [endpoints[0]]: { 128412: layer(1280, 28) },
                [endpoints[1]]: { 991823: layer(640, 27) },
                [endpoints[2]]: { 77123: layer(320, 13) }
            },
            serverRegion: 'eu-central-1',
            transport: []
        };
    }

    function sourceInfo(id, muted) {
        return JSON.stringify({
            [`${id}-a0`]: { muted },
            [`${id}-v0`]: { muted: false, videoType: 'camera' },
            [`${id}-v1`]: { muted: true, videoType: 'desktop' },
            [`${id}-a1`]: { muted: true }
        });
    }

    class Conference extends Emitter {
        constructor(room) {
            super();
            this.room = room;
            this.commands = new Map();
            this.emitted = 0;
            this.muted = new Set();
        }

        addCommandListener(element, listener) {
            this.commands.set(element, listener);
        }

        presence(id) {
            const elements = {
                SourceInfo: sourceInfo(id, this.muted.has(id)),
                audiomuted: String(this.muted.has(id)),
                videomuted: 'false'
            };

            for (const [ tagName, value ] of Object.entries(elements)) {
                this.commands.get(tagName)?.({ tagName, value, attributes: {}, children: [] }, id, 'jid');
            }
        }

        myUserId() { return 'beefcafe'; }
        getRole() { return 'none'; }
        getParticipants() { return endpoints; }
        setDisplayName() { /* nobody sees it */ }

        join() {
            setTimeout(() => {
                endpoints.forEach((id, n) => {
                    this.emit('conference.userJoined', id, participant(id, n), false);
                    this.presence(id);
                });
                this.emit('conference.joined');
                this.attend();
            });
        }

        async leave() { this.emit('conference.left'); }

        /** Emits the next event: 9 of 20 are chat, 6 statistics, 3 presence, 2 the dominant speaker. */
        next() {
            const n = this.emitted++;
            const turn = n % 20;
            // Within a hundred events nobody mutes twice: the hook would see the last state only.
            const id = endpoints[(Math.floor(n / 20) + (turn * 7)) % PEOPLE];

            if (turn < 9) {
                this.emit('conference.messageReceived', id, TEXT.repeat(3), undefined,
                    'Participant', false, `m-${n}`, undefined, undefined);
            } else if (turn < 15) {
                this.emit('cq.remote_stats_updated', id, statistics(n));
            } else if (turn < 18) {
                this.muted.delete(id) || this.muted.add(id);
                this.presence(id);
            } else {
                this.emit('conference.dominantSpeaker', id, endpoints.filter(other => other !== id), false);
            }
        }

        /** Plays what the server asks for, one load after the other. */
        attend() {
            // Not fetch: ten rooms in one page would wait for each other's six connections.
            const control = new WebSocket(`ws://${location.host}/control?room=${this.room}`);

            control.onmessage = async ({ data }) => control.send(JSON.stringify(await this.play(JSON.parse(data))));
        }

        /** Emits `events` events, `together` in one task, a task every `every_ms`; 0: one task after the other. */
        async play({ events, together, every_ms: every, offset_ms: offset }) {
            const ahead = await wallClockAhead();
            const times = [];
            const task = taskQueue();
            let left = events;
            const work = () => {
                for (let n = 0; n < together && left > 0; n += 1, left -= 1) {
                    times.push(performance.now() + ahead);
                    this.next();
                }
            };

            if (every === 0) {
                while (left > 0) {
                    await task(work);
                }

                return times;
            }
            await sleep(offset);
            const start = performance.now();
            let played = 0;

            while (left > 0) {
                const due = Math.min(Math.floor((performance.now() - start) / every) + 1, Math.ceil(events / together));
                const tasks = [];

                for (; played < due; played += 1) {
                    tasks.push(task(work)); // each in a task of its own, as the frames of a websocket are
                }
                await Promise.all(tasks);
                await sleep(start + (played * every) - performance.now());
            }

            return times;
        }
    }

    const sleep = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));

    /** Runs work in a task of its own, without the timers' pause between tasks. */
    function taskQueue() {
        const channel = new MessageChannel();
        const waiting = [];

        channel.port1.onmessage = () => {
            const { work, resolve } = waiting.shift();

            work();
            resolve();
        };

        return work => new Promise(resolve => {
            waiting.push({ work, resolve });
            channel.port2.postMessage(null);
        });
    }

    /** How far the wall clock is ahead of `performance.now()`, in ms: read when the wall clock turns over. */
    async function wallClockAhead() {
        await sleep(1);
        const before = Date.now();

        while (Date.now() === before) { /* at most a millisecond */ }

        return Date.now() - performance.now();
    }

    class JitsiConnection extends Emitter {
        addEventListener(event, listener) { this.on(event, listener); }
        initJitsiConference(room) { return new Conference(room); }
        connect() { setTimeout(() => this.emit('connection.connectionEstablished', 'bench')); }
        async disconnect() { /* nothing is connected */ }
    }

    globalThis.JitsiMeetJS = {
        version: 'stand-in for benchmarks',
        events: {
            conference: {
                CONFERENCE_JOINED: 'conference.joined',
                CONFERENCE_LEFT: 'conference.left',
                DOMINANT_SPEAKER_CHANGED: 'conference.dominantSpeaker',
                MESSAGE_RECEIVED: 'conference.messageReceived',
                USER_JOINED: 'conference.userJoined',
                USER_LEFT: 'conference.userLeft'
            },
            connection: {
                CONNECTION_ESTABLISHED: 'connection.connectionEstablished',
                CONNECTION_FAILED: 'connection.connectionFailed'
            },
            connectionQuality: { REMOTE_STATS_UPDATED: 'cq.remote_stats_updated' }
        },
        logLevels: { ERROR: 'error' },
        init() { /* there is nothing to prepare */ },
        setLogLevel() { /* it says nothing */ },
        JitsiConnection
    };
})();
