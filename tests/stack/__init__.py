"""A local Jitsi deployment for tests: test equipment, not a server to meet on.

What is real: Prosody, lib-jitsi-meet, Chromium, and every stanza and websocket frame between them. What stands
in: the conference focus (jicofo), the media bridge (its signalling channel only: no media flows) and the
recorder and transcriber. Everything listens on 127.0.0.1.

`python -m tests.stack` runs it for a person; `tests.stack.client.Stack` runs and commands it from a test;
`tests.stack.participant.ParticipantBrowser` puts people into rooms, on this stack or on any other deployment.

Beside it stands what tests and scripts share besides: PostgreSQL servers (`postgres`), processes as the system shows
them (`process_tree`), a proxy that breaks connections (`proxy`), people without a browser (`crowd`), and tables of
measurements (`report`). Scripts and tests import this package and not each other; it imports neither.
"""
