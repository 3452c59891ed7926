// A page in which the bot is in one room, for tests of what is looked at once a second.
import assert from 'node:assert/strict';

import { library } from './library.mjs';
import { openPage } from './page.mjs';

const CONFIG = { hosts: { domain: 'meet.example.org' }, websocket: 'wss://meet.example.org/xmpp-websocket' };
const LIMITS = { silence: 15_000, heartbeat: 5000, stall: 5000, window: 1e9, resend: 1e9 };

/** A page with one room, in which the bot is from the beginning unless `enter` says no. */
export function openRoom({ limits = {}, enter = true, deliver = undefined } = {}) {
    const beats = [];
    const page = openPage({ config: CONFIG, JitsiMeetJS: library() });

    page.beats = beats;
    page.global.meetaDeliver = deliver ?? (text => {
        const told = JSON.parse(text);

        if ('alive' in told) {
            assert.ok(text.startsWith('{"page_load"'));
            beats.push(told);
        } else {
            page.delivered.push(told);
        }
    });
    page.meetaBot.configure({ ...LIMITS, ...limits });
    page.meetaBot.live('meetaDeliver');
    page.join = (key = 'capture-1.1') => {
        const request = { conference: key, room: 'standup', display_name: 'x', password: null, token: null };

        page.task(() => page.meetaBot.join(request, 'meetaDeliver'));
        const connection = page.global.JitsiMeetJS.made.at(-1);

        connection.xmpp.connection.clock = () => page.wall;

        return connection;
    };
    page.connection = page.join();
    page.xmpp = page.connection.xmpp.connection;
    page.emit = (event, ...args) => page.task(() => page.connection.emit(`connection.connection${event}`, ...args));
    page.hears = () => {
        page.xmpp.lastSuccess = page.wall;
    };
    /** Lets seconds pass in which the server says something every second. */
    page.chat = seconds => {
        for (let second = 0; second < seconds; second += 1) {
            page.hears();
            page.advance(1000);
        }
    };
    page.closeSocket = () => page.task(() => {
        page.xmpp.connected = false;
        page.xmpp._stropheConn._proto.socket.emit('close');
    });
    page.told = (what = /^hook\.(sign|bridge|slept)/) => page.messages().filter(({ origin }) => what.test(origin))
        .map(({ origin, args }) => [ origin.slice(5), ...args ]);
    page.conference = () => page.connection.conferences[0];
    if (enter) {
        page.hears();
        page.emit('Established', 'id');
    }

    return page;
}
