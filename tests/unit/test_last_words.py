"""Which line of a program that did not start is the reason. Lines as they are written on machines of several kinds."""

from __future__ import annotations

import pytest

from meeta_bot.capture.browser.chromium import what_became_of_it
from meeta_bot.capture.browser.last_words import how_to_get, missing_libraries, reason_in

WRAPPER = "/usr/bin/chromium: 9: [: 25265459200: unexpected operator"
BUS = (
    "[26847:26877:1201/130939.078480:ERROR:dbus/bus.cc:405] Failed to connect to the bus: Failed to connect to socket "
    "/run/dbus/system_bus_socket: No such file or directory"
)
BUS_WARNING = "[12:12:0301/101112.131415:WARNING:bus.cc(643)] Failed to connect to the bus"
SANDBOX = "[12:12:0301/101112.131415:FATAL:zygote_host_impl_linux.cc(132)] No usable sandbox! Update your kernel."
SCREEN = "[1:1:1201/130939.107:ERROR:ui/ozone/platform/x11/ozone_platform_x11.cc:257] Missing X server or $DISPLAY"
PLATFORM = "[1:1:1201/130939.108:ERROR:ui/aura/env.cc:253] The platform failed to initialize.  Exiting."
ROOT = (
    "[9:9:1201/1.2:ERROR:content/zygote_host_impl_linux.cc:103] Running as root without --no-sandbox is not supported."
)
GPU = "[9:9:1201/130939.107:ERROR:viz_main_impl.cc(196)] Exiting GPU process due to errors during initialization"
NSS = (
    "/usr/lib/chromium/chromium: error while loading shared libraries: libnss3.so: cannot open shared object file: "
    "No such file or directory"
)
NAMESPACE = "Failed to move to new namespace: PID namespaces supported, but failed: errno = Operation not permitted"
CHECK = "[7:7:0301/1.1:FATAL:zygote_host_impl_linux.cc(187)] Check failed: . : Invalid argument (22)"
PROFILE = "Failed to create /x/SingletonLock: Permission denied (13)"
SHARED = "This is frequently caused by incorrect permissions on /dev/shm."
CRASH = ["Received signal 11 SEGV_MAPERR 000000000000", "#0 0x55d0c8a2b1f9 <unknown>", "[end of stack trace]"]
GTK = '(chromium:77): Gtk-WARNING **: 10:11:12.131: Failed to load module "canberra-gtk-module"'


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([BUS_WARNING, SANDBOX], "No usable sandbox! Update your kernel."),
        ([WRAPPER, BUS_WARNING, SANDBOX, *CRASH], "No usable sandbox! Update your kernel."),
        ([WRAPPER, BUS, BUS, SCREEN, PLATFORM], "Missing X server or $DISPLAY"),
        ([WRAPPER, GPU, PLATFORM], "The platform failed to initialize.  Exiting."),
        ([WRAPPER, ROOT], "Running as root without --no-sandbox is not supported."),
        ([WRAPPER, NSS], NSS),
        (
            ["/opt/run: line 2: lsb_release: command not found", "/opt/run: line 9: /opt/chrome: Permission denied"],
            "/opt/run: line 9: /opt/chrome: Permission denied",
        ),
        ([BUS, NSS], NSS),
        (
            ["[0301/101112.131:ERROR:chrome_main.cc(210)] Failed to create headless user data directory container."],
            "Failed to create headless user data directory container.",
        ),
        (
            [WRAPPER, "/usr/bin/chromium: 186: exec: /usr/lib/chromium/chromium: not found"],
            "/usr/bin/chromium: 186: exec: /usr/lib/chromium/chromium: not found",
        ),
        (
            [
                "/opt/run: line 3: [: missing `]'",
                "/opt/run: line 9: /opt/chrome: cannot execute binary file: Exec format error",
            ],
            "/opt/run: line 9: /opt/chrome: cannot execute binary file: Exec format error",
        ),
        (
            ["/opt/run: 1: lsb_release: not found", "/opt/run: 2: /opt/chrome: not found"],
            "/opt/run: 2: /opt/chrome: not found",
        ),
        (["/opt/run: 1: lsb_release: not found", SANDBOX], "No usable sandbox! Update your kernel."),
        (
            [BUS_WARNING, "[1:1:0301/101112.1:INFO:headless_shell.cc(1)] hello", "libfoo.so is missing"],
            "libfoo.so is missing",
        ),
        (
            ["Fontconfig error: Cannot load default config file", "the profile can't be opened"],
            "the profile can't be opened",
        ),
        (
            [
                GTK,
                f"[1:1:0301/1.1:ERROR:process_singleton_posix.cc(1108)] {PROFILE}",
            ],
            PROFILE,
        ),
        (
            [
                "Command '/usr/bin/chromium-browser' requires the chromium snap to be installed.",
                "Please install it with:",
                "",
                "snap install chromium",
            ],
            "Command '/usr/bin/chromium-browser' requires the chromium snap to be installed.",
        ),
        (
            ["[7:7:0301/1.1:ERROR:memory.cc(41)] Out of memory. size=262144", "Trace/breakpoint trap"],
            "Out of memory. size=262144",
        ),
        (
            [
                f"[7:7:0301/1.1:FATAL:platform_shared_memory_region_posix.cc(249)] {SHARED}",
                "Aborted (core dumped)",
            ],
            SHARED,
        ),
        (["Segmentation fault"], "Segmentation fault"),
        ([BUS, CHECK, *CRASH], "Check failed: . : Invalid argument (22)"),
        (
            [
                NAMESPACE,
                CHECK,
            ],
            NAMESPACE,
        ),
        (["[FATAL:main.cc:1] no numbers at all"], "no numbers at all"),
        (
            ["[0301/101112.131:FATAL:icu_util.cc(223)] Invalid file descriptor to ICU data received."],
            "Invalid file descriptor to ICU data received.",
        ),
        (
            [
                "node:internal/modules/cjs/loader:1607",
                "  throw err;",
                "  ^",
                "",
                "Error: Cannot find module '/x.js'",
                "Require stack:",
                "- internal/preload",
                "    at Module._load (node:internal/modules/cjs/loader:1370:5)",
                "Node.js v24.1.0",
            ],
            "Error: Cannot find module '/x.js'",
        ),
        (
            ["", "#", "# Fatal JavaScript out of memory: GC during deserialization", "#"],
            "# Fatal JavaScript out of memory: GC during deserialization",
        ),
    ],
)
def test_the_reason_is_the_line_that_ended_it(lines: list[str], reason: str) -> None:
    assert reason_in(lines) == reason


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["", "   "],
        [WRAPPER],
        [WRAPPER, BUS, BUS_WARNING, GPU],
        ["[9:9:1201/1.2:ERROR:sandbox_linux.cc(376)] InitializeSandbox() called with multiple threads in process gpu."],
        ["[9:9:1201/1.2:ERROR:dbus/object_proxy.cc:590] Failed to call method: org.freedesktop.DBus.Properties.Get"],
        ["[9:9:1201/1.2:ERROR:content/zygote/zygote_linux.cc:662] write: Broken pipe (32)"],
        ["/usr/bin/chromium: line 12: [[: 0x: value too great for base", "/opt/x: 3: [: =: argument expected"],
        ["DevTools listening on ws://127.0.0.1:1/devtools", "libva error: vaGetDriverNameByIndex() failed", GTK],
        ["[12:40:0301/101112.131415:ERROR:registration_request.cc(291)] Registration response error message: QUOTA"],
        ["#0 0x55d0c8a2b1f9 <unknown>", "  r8: 00007ffd5fa0 ", "[end of stack trace]"],
        ["[1:1:0301/101112.1:VERBOSE1:a.cc(1)] words", "[1:1:0301/101112.1:WARNING:a.cc(1)] words"],
    ],
)
def test_what_complains_and_goes_on_is_no_reason(lines: list[str]) -> None:
    assert reason_in(lines) is None


@pytest.mark.parametrize(
    ("text", "became"),
    [
        ("x\n[pid=7] <process did exit: exitCode=3, signal=null>", "it ended at once, with exit code 3"),
        ("x\n[pid=7] <process did exit: exitCode=null, signal=SIGTRAP>", "it died of SIGTRAP"),
        ("x\n[pid=7] <process did exit: exitCode=null, signal=SIGKILL>", "it died of SIGKILL, as for want of memory"),
        (
            "BrowserType.launch: Failed to launch: Error: spawn /x/chrome ENOENT",
            "/x/chrome can't be run: No such file or directory",
        ),
        (
            "BrowserType.launch: Failed to launch: Error: spawn /x/chrome EACCES\nCall log:",
            "/x/chrome can't be run: Permission denied",
        ),
        ("BrowserType.launch: something else\nmore", "something else"),
    ],
)
def test_one_that_said_nothing_is_told_by_what_became_of_it(text: str, became: str) -> None:
    assert what_became_of_it(text) == became


async def test_missing_libraries_are_told_with_their_packages() -> None:
    libraries = await missing_libraries(
        [NSS, "Error loading shared library libX11.so.6: No such file or directory (needed by x)"]
    )
    assert libraries[0] == "libnss3.so"
    assert "libX11.so.6" in libraries


@pytest.mark.parametrize(
    ("library", "package"),
    [
        ("libatomic.so.1", "libatomic1"),
        ("libnss3.so", "libnss3"),
        ("libsmime3.so", "libnss3"),
        ("libstdc++.so.6", "libstdc++6"),
        ("libgcc_s.so.1", "libgcc-s1"),
        ("libX11.so.6", "libx11-6"),
        ("libxkbcommon.so.0", "libxkbcommon0"),
        ("libpango-1.0.so.0", "libpango-1.0-0"),
        ("libgobject-2.0.so.0", "libglib2.0-0"),
        ("libatk-bridge-2.0.so.0", "libatk-bridge2.0-0"),
        ("libdbus-1.so.3", "libdbus-1-3"),
        ("libm.so.6", "libc6"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_package_is_named_as_debian_does(library: str, package: str) -> None:
    assert how_to_get([library, library]) == f"install it; on Debian: apt-get install {package}"
