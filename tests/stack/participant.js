/**
 * The commands that Python gives a participant, each resolved when what it does has taken effect. Test equipment;
 * participant_conference.js comes before this in the same script.
 */
window.stackParticipant = (() => {
    'use strict';

    const {
        own,
        action,
        addTracks,
        bridgeChannel,
        connect,
        createConference,
        delivered,
        endpointId,
        heldTrack,
        joined,
        nextEvent,
        sendsSeveralVideos,
        untilModerator,
        watchTrack
    } = window.stackConference;

    const commands = {
        async join(options) {
            own.name = options.name;
            if (!own.connection) {
                await connect(options);
            }
            if (!own.conference) {
                createConference(options);
            }
            const outcome = joined();

            own.conference.join(options.password ?? undefined);
            await outcome;

            // Tracks that are added earlier look muted to peers until the next presence.
            await addTracks(options.devices);

            return endpointId();
        },

        /** From a breakout room: into the main room again, by the same connection. */
        async returnToRoom(options) {
            createConference(options);
            const outcome = joined();

            own.conference.join();
            await outcome;
        },

        /** For one who waits in the lobby. */
        async waitJoined({ devices }) {
            if (!own.joined) {
                await joined();
            }
            await addTracks(devices);

            return endpointId();
        },

        async joinLobby({ name }) {
            await own.conference.joinLobby(name);
            action('lobby_joined', { name });
        },

        async enableLobby() {
            await untilModerator();
            await own.conference.enableLobby();
            action('lobby_enabled');
        },

        async disableLobby() {
            const confirmation = nextEvent('conference.membersOnlyChanged', enabled => !enabled);

            own.conference.disableLobby();
            await confirmation;
            action('lobby_disabled');
        },

        lobbyApprove({ endpointId: id }) {
            own.conference.lobbyApproveAccess(id);
            action('lobby_approved', { endpoint_id: id });
        },

        lobbyDeny({ endpointId: id }) {
            own.conference.lobbyDenyAccess(id);
            action('lobby_denied', { endpoint_id: id });
        },

        rename({ name }) {
            own.name = name;
            own.conference.setDisplayName(name);
            action('renamed', { name });
        },

        /** The action is reported by TRACK_MUTE_CHANGED, which also sees a moderator's muting. */
        async setMuted({ use, muted }) {
            const track = heldTrack(use);

            await (muted ? track.mute() : track.unmute());
        },

        async startScreenShare() {
            const captured = await JitsiMeetJS.createLocalTracks({ devices: [ 'desktop' ] });
            const desktop = captured.find(track => track.getType() === 'video');
            const camera = own.tracks.camera;

            // The fake screen has sound, too; sharing it would mean mixing it into the microphone's track.
            await Promise.all(captured.filter(track => track !== desktop).map(track => track.dispose()));

            const besideCamera = sendsSeveralVideos() || !camera;

            if (besideCamera) {
                await own.conference.addTrack(desktop);
            } else {
                await own.conference.replaceTrack(camera, desktop);
            }
            own.tracks.desktop = desktop;
            action('screen_share_started', { beside_camera: besideCamera });
        },

        async stopScreenShare() {
            const desktop = heldTrack('desktop');

            const besideCamera = sendsSeveralVideos() || !own.tracks.camera;

            await own.conference.replaceTrack(desktop, besideCamera ? null : own.tracks.camera);
            delete own.tracks.desktop;
            action('screen_share_stopped', { beside_camera: besideCamera });
            await desktop.dispose();
        },

        async switchCamera() {
            const camera = heldTrack('camera');
            const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(device => device.kind === 'videoinput');
            const other = cameras.find(device => device.deviceId !== camera.getDeviceId());

            if (!other) {
                throw new Error('there is only one camera');
            }
            const [ track ] = await JitsiMeetJS.createLocalTracks({ devices: [ 'video' ], cameraDeviceId: other.deviceId });

            await own.conference.replaceTrack(camera, track);
            watchTrack(track);
            own.tracks.camera = track;
            action('camera_switched', { label: other.label });
            await camera.dispose();
        },

        raiseHand() {
            const raisedAt = Date.now();

            own.conference.setLocalParticipantProperty('raisedHand', raisedAt);
            action('hand_raised', { raised_at_ms: raisedAt });
        },

        lowerHand() {
            own.conference.setLocalParticipantProperty('raisedHand', 0);
            action('hand_lowered');
        },

        setProperty({ name, value }) {
            own.conference.setLocalParticipantProperty(name, value);
            action('property_set', { name, value });
        },

        /** The room sends a message back to its author, too: then everybody has it. */
        async sendChat({ text }) {
            const echo = nextEvent('conference.messageReceived', (from, body) => from === endpointId() && body === text);

            own.conference.sendTextMessage(text);
            await echo;
            action('chat_sent', { text });
        },

        sendPrivateChat({ endpointId: to, text }) {
            own.conference.sendPrivateTextMessage(to, text);
            action('private_chat_sent', { to, text });
        },

        async sendEndpointMessage({ to, payload }) {
            await bridgeChannel();
            own.conference.sendEndpointMessage(to, payload);
            action('endpoint_message_sent', { to, payload });
        },

        async react({ reactions }) {
            await bridgeChannel();
            own.conference.sendEndpointMessage('', { name: 'endpoint-reaction', reactions, timestamp: Date.now() });
            action('reaction_sent', { reactions });
        },

        async setSubject({ subject }) {
            await untilModerator();
            const confirmation = nextEvent('conference.subjectChanged', value => value === subject);

            own.conference.setSubject(subject);
            await confirmation;
            action('subject_set', { subject });
        },

        async lock({ password }) {
            await untilModerator();
            await own.conference.lock(password);
            action('locked');
        },

        async unlock() {
            await untilModerator();
            await own.conference.unlock();
            action('unlocked');
        },

        async kick({ endpointId: id, reason }) {
            await untilModerator();
            const confirmation = nextEvent('conference.userLeft', left => left === id);

            own.conference.kickParticipant(id, reason);
            await confirmation;
            action('kick', { endpoint_id: id, reason });
        },

        async grantModerator({ endpointId: id }) {
            await untilModerator();
            const confirmation = nextEvent('conference.roleChanged', (who, role) => who === id && role === 'moderator');

            own.conference.grantOwner(id);
            await confirmation;
            action('moderator_granted', { endpoint_id: id });
        },

        /** Only asked for: what becomes of it is in the log of the one who is muted. */
        async muteOther({ endpointId: id, media }) {
            await untilModerator();
            own.conference.muteParticipant(id, media);
            action('mute_requested', { endpoint_id: id, media });
        },

        async startRecording({ mode }) {
            await untilModerator();
            const confirmation = nextEvent('conference.recorderStateChanged', session => session.status === 'on');
            const session = await own.conference.startRecording({ mode });

            await confirmation;
            action('recording_started', { session_id: session.getID(), mode });

            return session.getID();
        },

        async stopRecording({ sessionId }) {
            const confirmation = nextEvent('conference.recorderStateChanged', session => session.status === 'off');

            await own.conference.stopRecording(sessionId);
            await confirmation;
            action('recording_stopped', { session_id: sessionId });
        },

        peers() {
            return own.conference.getParticipants().map(peer => ({
                endpointId: peer.getId(),
                name: peer.getDisplayName() ?? '',
                role: peer.getRole(),
                hidden: peer.isHidden()
            }));
        },

        untilModerator,
        untilBridgeChannel: bridgeChannel,

        async leave() {
            await own.conference.leave();
            await own.connection.disconnect();
        }
    };

    /** Run one command; what it reported has arrived in Python when this resolves, also when it fails. */
    async function run([ name, options ]) {
        try {
            return await commands[name](options ?? {});
        } finally {
            await delivered();
        }
    }

    return { run };
})();
