// meeta_bot/capture/browser/hook/outbox.js: what is pushed arrives, in order, numbered, however the binding and Python behave.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { openPage, randomOf } from './page.mjs';

const NEVER = 1e9; // milliseconds

function openOutbox(limits = {}, deliver = undefined) {
    const page = openPage();

    page.meetaBot.configure({ batch: 3, window: 2, messages: 100, bytes: 1e6, pause: 0, resend: 1000, ...limits });
    page.outbox = new page.meetaBot.Outbox('room-1', 'load-1', deliver ?? (text => page.delivered.push(JSON.parse(text))));
    page.push = (...names) => page.task(() => names.forEach(name => page.outbox.push(name, [])));
    page.acknowledge = seq => page.task(() => page.outbox.acknowledge(seq));
    page.batches = () => page.delivered.map(batch => batch.messages.map(message => message[0]));

    return page;
}

const names = count => Array.from({ length: count }, (_, n) => `m${n + 1}`);

describe('sending', () => {
    it('a batch names conference and load, each message its number, both clocks, origin and arguments', () => {
        const page = openOutbox();

        page.task(() => page.outbox.push('conference.joined', [ 'a', { b: 1 } ]));
        assert.deepEqual(page.delivered, [ {
            conference: 'room-1',
            page_load: 'load-1',
            messages: [ [ 1, 1_700_000_000_000, 100, 'conference.joined', [ 'a', { b: 1 } ] ] ]
        } ]);
    });

    it('a name with quotes does not break the batch', () => {
        const page = openPage();
        const outbox = new page.meetaBot.Outbox('a"b\\', 'load', text => page.delivered.push(JSON.parse(text)));

        page.task(() => outbox.push('x', []));
        assert.equal(page.delivered[0].conference, 'a"b\\');
    });

    it('what one task pushes travels together, and leaves when the task ends', () => {
        const page = openOutbox();

        page.outbox.push('a', []);
        page.outbox.push('b', []);
        assert.deepEqual(page.batches(), []);
        page.endTask();
        assert.deepEqual(page.batches(), [ [ 1, 2 ] ]);
    });

    it('what is pushed at the end of the task leaves as well', () => {
        const page = openOutbox();

        page.task(() => {
            page.outbox.push('a', []);
            page.microtasks.push(() => page.outbox.push('b', []));
        });
        assert.deepEqual(page.batches(), [ [ 1 ], [ 2 ] ]);
    });

    it('arguments can be completed until the task ends', () => {
        const page = openOutbox();
        const flag = { raised: false };

        page.task(() => {
            page.outbox.push('a', [ flag ]);
            flag.raised = true;
        });
        assert.deepEqual(page.messages()[0].args, [ { raised: true } ]);
    });

    it('no batch is larger than the limit and no more batches are on their way than the window', () => {
        const page = openOutbox();

        page.push(...names(10));
        assert.deepEqual(page.batches(), [ [ 1, 2, 3 ], [ 4, 5, 6 ] ]);
    });

    it('an acknowledgement makes room in the window', () => {
        const page = openOutbox();

        page.push(...names(10));
        page.acknowledge(3);
        assert.deepEqual(page.batches().slice(2), [ [ 7, 8, 9 ] ]);
        page.acknowledge(9);
        assert.deepEqual(page.batches().slice(3), [ [ 10 ] ]);
    });

    it('numbers go on after everything was acknowledged', () => {
        const page = openOutbox();

        page.push('a');
        page.acknowledge(1);
        page.push('b');
        assert.deepEqual(page.batches(), [ [ 1 ], [ 2 ] ]);
    });

    it('an acknowledgement inside a batch forgets only what it covers', () => {
        const page = openOutbox();

        page.push(...names(3));
        page.acknowledge(2);
        page.task(() => page.outbox.rewind());
        assert.deepEqual(page.batches(), [ [ 1, 2, 3 ], [ 3 ] ]);
    });
});

describe('gathering', () => {
    it('the first after a pause leaves at once, what follows closely leaves together when the pause is over', () => {
        const page = openOutbox({ batch: 9, window: 9, pause: 5 });

        page.push('a');
        page.advance(1);
        page.push('b');
        page.advance(1);
        page.push('c');
        assert.deepEqual(page.batches(), [ [ 1 ] ]);
        page.advance(2.9);
        assert.deepEqual(page.batches(), [ [ 1 ] ]);
        page.advance(0.1);
        assert.deepEqual(page.batches(), [ [ 1 ], [ 2, 3 ] ]);
        page.advance(5);
        page.push('d');
        assert.deepEqual(page.batches().slice(2), [ [ 4 ] ]);
    });

    it('the pause begins anew with every call', () => {
        const page = openOutbox({ batch: 9, window: 9, pause: 5 });

        page.push('a');
        page.push('b');
        page.advance(5);
        page.push('c');
        assert.deepEqual(page.batches(), [ [ 1 ], [ 2 ] ]);
        page.advance(5);
        assert.deepEqual(page.batches(), [ [ 1 ], [ 2 ], [ 3 ] ]);
    });

    it('a full batch does not wait', () => {
        const page = openOutbox({ pause: 5 });

        page.push('a');
        page.push('b', 'c');
        assert.deepEqual(page.batches(), [ [ 1 ] ]);
        page.push('d');
        assert.deepEqual(page.batches(), [ [ 1 ], [ 2, 3, 4 ] ]);
        page.advance(5);
        assert.equal(page.delivered.length, 2);
    });

    it('arguments are written when their task ends, however long they gather', () => {
        const page = openOutbox({ pause: 5 });
        const flag = { raised: false };

        page.push('a');
        page.task(() => page.outbox.push('b', [ flag ]));
        flag.raised = true;
        page.advance(5);
        assert.deepEqual(page.messages()[1].args, [ { raised: false } ]);
    });

    it('a gathering batch waits for the window like any other', () => {
        const page = openOutbox({ window: 1, pause: 5 });

        page.push('a');
        page.push('b');
        page.advance(5);
        assert.deepEqual(page.batches(), [ [ 1 ] ]);
        page.acknowledge(1);
        assert.deepEqual(page.batches(), [ [ 1 ], [ 2 ] ]);
        page.acknowledge(2);
        assert.equal(page.timers.size, 0);
    });
});

describe('sending again', () => {
    it('everything without acknowledgement comes again, in order, after the resend time', () => {
        const page = openOutbox();

        page.push(...names(5));
        page.advance(999);
        assert.equal(page.delivered.length, 2);
        page.advance(1);
        assert.deepEqual(page.batches().slice(2), [ [ 1, 2, 3 ], [ 4, 5 ] ]);
    });

    it('it comes again and again until it is acknowledged, then never', () => {
        const page = openOutbox();

        page.push('a');
        page.advance(3500);
        assert.equal(page.delivered.length, 4);
        page.acknowledge(1);
        page.advance(NEVER);
        assert.equal(page.delivered.length, 4);
        assert.equal(page.timers.size, 0);
    });

    it('an acknowledgement that brings something new starts the resend time anew', () => {
        const page = openOutbox();

        page.push(...names(6));
        page.advance(900);
        page.acknowledge(3);
        page.advance(900);
        assert.equal(page.delivered.length, 2);
        page.advance(100);
        assert.deepEqual(page.batches().slice(2), [ [ 4, 5, 6 ] ]);
    });

    it('an old acknowledgement does not keep a lost batch from being sent again', () => {
        const page = openOutbox();

        page.push(...names(6));
        page.acknowledge(3);
        for (let n = 0; n < 10; n += 1) {
            page.advance(100);
            page.acknowledge(3);
        }
        assert.deepEqual(page.batches().slice(2), [ [ 4, 5, 6 ] ]);
    });

    it('a rewind sends everything without acknowledgement at once', () => {
        const page = openOutbox();

        page.push(...names(4));
        page.acknowledge(1);
        page.task(() => page.outbox.rewind());
        assert.deepEqual(page.batches().slice(2), [ [ 2, 3, 4 ] ]);
    });

    it('an acknowledgement that arrives after a rewind does not make it skip anything', () => {
        const page = openOutbox({ window: 1 });

        page.push(...names(7));
        page.task(() => page.outbox.rewind());
        page.acknowledge(3);
        page.acknowledge(6);
        assert.deepEqual(page.batches(), [ [ 1, 2, 3 ], [ 1, 2, 3 ], [ 4, 5, 6 ], [ 7 ] ]);
    });

    it('a binding that throws costs nothing: the timer tries again', () => {
        let broken = true;
        const page = openOutbox({}, text => {
            if (broken) {
                throw new Error('no binding');
            }
            page.delivered.push(JSON.parse(text));
        });

        page.push(...names(4));
        page.advance(2500);
        assert.deepEqual(page.batches(), []);
        broken = false;
        page.advance(1000);
        assert.deepEqual(page.batches(), [ [ 1, 2, 3 ], [ 4 ] ]);
    });
});

describe('a full buffer', () => {
    const overflowOf = page => page.messages().filter(message => message.origin === 'hook.overflow');

    it('what does not fit is counted, and told once, with its times, as soon as there is room', () => {
        const page = openOutbox({ messages: 4 });

        page.push(...names(4));
        page.advance(500);
        page.push('lost-1');
        page.advance(200);
        page.push('lost-2');
        assert.deepEqual(overflowOf(page), []);
        page.acknowledge(3);
        page.acknowledge(5);
        page.push('next');
        const told = { missed: 2, from_at: 1_700_000_000_500, to_at: 1_700_000_000_700 };

        assert.deepEqual(overflowOf(page), [ { seq: 5, origin: 'hook.overflow', args: [ told ] } ]);
        assert.deepEqual(page.messages().at(-1), { seq: 6, origin: 'next', args: [] });
        assert.ok(!page.messages().some(message => message.origin.startsWith('lost')));
    });

    it('what is lost has no number, so the others have no hole', () => {
        const page = openOutbox({ messages: 2, window: 9 });

        page.push('a', 'b', 'lost');
        page.acknowledge(2);
        page.push('c');
        assert.deepEqual(page.messages().map(message => [ message.seq, message.origin ]),
            [ [ 1, 'a' ], [ 2, 'b' ], [ 3, 'hook.overflow' ], [ 4, 'c' ] ]);
    });

    it('two overflows are told apart', () => {
        const page = openOutbox({ messages: 1 });

        page.push('a', 'lost');
        page.acknowledge(1);
        page.push('lost', 'lost');
        page.acknowledge(2);
        assert.deepEqual(overflowOf(page).map(message => message.args[0].missed), [ 1, 2 ]);
    });

    it('bytes are bounded as well', () => {
        const page = openOutbox({ bytes: 200 });

        page.task(() => page.outbox.push('big', [ 'x'.repeat(200) ]));
        page.push('lost');
        page.acknowledge(1);
        assert.deepEqual(overflowOf(page).map(message => message.args[0].missed), [ 1 ]);
        page.acknowledge(2);
        page.push('small');
        assert.equal(page.messages().at(-1).origin, 'small');
        assert.equal(page.outbox.bytes, page.outbox.waiting[0].text.length);
    });

    it('an acknowledgement of nothing new does not tell of an overflow that goes on', () => {
        const page = openOutbox({ messages: 1 });

        page.push('a', 'lost');
        page.acknowledge(0);
        assert.deepEqual(overflowOf(page), []);
    });
});

// A Python that behaves as bridge.py: hands on in order and once, acknowledges, asks again behind a hole; the way to
// it loses and delays batches, and the way back loses acknowledgements.
class Receiver {
    constructor() {
        this.seq = 0;
        this.received = [];
    }

    take(batch) {
        for (const [ seq, , , origin, args ] of batch.messages) {
            if (seq === this.seq + 1) {
                this.seq = seq;
                this.received.push([ origin, args ]);
            }
        }
    }
}

function playLossyConversation(seed) {
    const random = randomOf(seed);
    const receiver = new Receiver();
    const onTheWay = [];
    const size = { batch: 1 + Math.floor(random() * 4), window: 1 + Math.floor(random() * 3) };
    const page = openOutbox({ ...size, messages: 30, pause: Math.floor(random() * 3) * 400 },
        text => {
            const fate = random();

            if (fate < 0.15) {
                throw new Error('the binding is gone');
            } else if (fate < 0.75) {
                onTheWay.push(JSON.parse(text));
            }
        });
    let pushed = 0;

    const deeds = [
        () => page.push(...Array.from({ length: Math.floor(random() * 6) }, () => `m${++pushed}`)),
        () => onTheWay.splice(0, 1 + Math.floor(random() * 3)).forEach(batch => receiver.take(batch)),
        () => page.acknowledge(random() < 0.8 ? receiver.seq : Math.floor(random() * receiver.seq)),
        () => page.advance(Math.floor(random() * 1500)),
        () => random() < 0.2 && page.task(() => page.outbox.rewind())
    ];

    for (let step = 0; step < 300; step += 1) {
        deeds[Math.floor(random() * deeds.length)]();
    }
    for (let step = 0; step < 500 && (page.outbox.waiting.length > 0 || page.outbox.overflow); step += 1) {
        page.advance(1000);
        onTheWay.splice(0).forEach(batch => receiver.take(batch));
        page.acknowledge(receiver.seq);
    }

    return { pushed, received: receiver.received, page };
}

describe('over a lossy way', () => {
    const first = Number(process.env.HOOK_SEED ?? Date.now() % 1_000_000);

    for (let seed = first; seed < first + 40; seed += 1) {
        it(`everything arrives once and in order, or is counted as missed (HOOK_SEED=${seed})`, () => {
            const { pushed, received, page } = playLossyConversation(seed);
            const missed = received.filter(([ origin ]) => origin === 'hook.overflow').map(([ , args ]) => args[0].missed);
            const arrived = received.map(([ origin ]) => origin).filter(origin => origin !== 'hook.overflow');
            const numbers = arrived.map(origin => Number(origin.slice(1)));

            assert.deepEqual(numbers, [ ...new Set(numbers) ].sort((a, b) => a - b));
            assert.equal(arrived.length + missed.reduce((sum, count) => sum + count, 0), pushed);
            assert.equal(page.outbox.waiting.length, 0);
            assert.equal(page.outbox.bytes, 0);
            assert.equal(page.timers.size, 0);
        });
    }
});
