/* eslint-disable */
// config.js of the local test stack, in the shape that docker-jitsi-meet writes.
var subdir = '';
var subdomain = '';
if (subdomain) {
    subdomain = subdomain.substr(0, subdomain.length - 1).split('.').join('_').toLowerCase() + '.';
}

var config = {
    hosts: {
        domain: '@DOMAIN@',
        muc: 'muc.' + subdomain + '@DOMAIN@',
        focus: 'focus.@DOMAIN@'
    },
    bosh: '@HTTP@/' + subdir + 'http-bind',
    websocket: '@WEBSOCKET@/' + subdir + 'xmpp-websocket',
    websocketKeepAliveUrl: '@HTTP@/' + subdir + '_unlock',
    focusUserJid: 'focus@focus.@DOMAIN@',
    hiddenDomain: 'hidden.@DOMAIN@',
    enableWebsocketResume: true,
    p2p: { enabled: false, stunServers: [] },
    channelLastN: -1,
    resolution: 180,
    videoQuality: { codecPreferenceOrder: [ 'VP8' ], mobileCodecPreferenceOrder: [ 'VP8' ] }, // the focus offers no other
    constraints: { video: { height: { ideal: 180, max: 180, min: 180 } } },
    prejoinPageEnabled: true,
    prejoinConfig: { enabled: true },
    enableWelcomePage: true,
    enableNoAudioDetection: false,
    enableNoisyMicDetection: false,
    disableThirdPartyRequests: true,
    analytics: {},
    deploymentInfo: {},
    transcription: { enabled: true },
    recordingService: { enabled: true },
    fileRecordingsEnabled: true,
    makeJsonParserHappy: 'even if last key had a trailing comma'
};
