// A page for the shipped hook: a fresh context with the files that Chromium gets, and clocks, timers and microtasks in
// the hands of the test. `task` runs something as the browser runs a task: with its microtasks after it.
import { readFileSync } from 'node:fs';
import vm from 'node:vm';

const HOOK = new URL('../../meeta_bot/capture/browser/hook/', import.meta.url);
const FILES = [ 'serialize.js', 'outbox.js', 'listen.js', 'bridge.js', 'revive.js', 'received.js', 'watch.js', 'join.js' ];

// In Chromium since version 111 and in node since version 20; node 18 lacks it.
const WELL_FORMED = `String.prototype.toWellFormed ??= function () {
    return Array.from(String(this), c => /^[\\uD800-\\uDFFF]$/.test(c) ? '\\uFFFD' : c).join('');
};`;

/** What JSON makes of a value: also takes away that it comes from another context. */
export const plain = value => JSON.parse(JSON.stringify(value));

export function openPage(globals = {}) {
    const page = { wall: 1_700_000_000_000, now: 100, microtasks: [], timers: new Map(), delivered: [] };
    let lastTimer = 0;

    const context = vm.createContext({
        crypto: { randomUUID: () => 'page-load-1' },
        performance: { now: () => page.now },
        queueMicrotask: work => page.microtasks.push(work),
        setTimeout: (work, delay) => {
            page.timers.set(++lastTimer, { work, at: page.now + delay });

            return lastTimer;
        },
        clearTimeout: timer => page.timers.delete(timer),
        wallClock: () => page.wall,
        AbortSignal,
        meetaDeliver: batch => page.delivered.push(JSON.parse(batch)),
        ...globals
    });

    vm.runInContext(`Date.now = wallClock; ${WELL_FORMED}`, context);
    for (const file of FILES) {
        vm.runInContext(readFileSync(new URL(file, HOOK), 'utf8'), context, { filename: file });
    }

    context.meetaBot.configure({ pause: 0 }); // what is said arrives at the end of its task; outbox.test.mjs gathers

    page.global = context;
    page.meetaBot = context.meetaBot;
    page.evaluate = source => vm.runInContext(source, context);

    page.endTask = () => {
        while (page.microtasks.length > 0) {
            page.microtasks.shift()();
        }
    };
    page.task = work => {
        const result = work();

        page.endTask();

        return result;
    };

    function passTo(now) {
        const passed = Math.max(0, now - page.now);

        page.wall += passed;
        page.now += passed;
    }

    page.advance = milliseconds => {
        const until = page.now + milliseconds;

        for (;;) {
            const due = [ ...page.timers ].filter(([ , timer ]) => timer.at <= until).sort((a, b) => a[1].at - b[1].at);

            if (due.length === 0) {
                break;
            }
            const [ id, timer ] = due[0];

            page.timers.delete(id);
            passTo(timer.at);
            page.task(timer.work);
        }
        passTo(until);
    };

    /** The page gets no time to run: afterwards its timers are late. */
    page.freeze = milliseconds => {
        passTo(page.now + milliseconds);
        page.advance(0);
    };

    /** The messages that reached Python, as {seq, origin, args}. */
    page.messages = () => page.delivered.flatMap(batch => batch.messages)
        .map(([ seq, , , origin, args ]) => ({ seq, origin, args }));

    return page;
}

/** Numbers that look random and are the same for the same seed (mulberry32). */
export function randomOf(seed) {
    let state = seed >>> 0;

    return () => {
        state = (state + 0x6D2B79F5) >>> 0;
        let mixed = Math.imul(state ^ (state >>> 15), 1 | state);

        mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;

        return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
}
