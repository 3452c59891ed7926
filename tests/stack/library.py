"""The real lib-jitsi-meet (December 2021) and the jQuery it wants, from npm, checked and cached. Test
equipment.

`npm pack` fetches the tarballs as published and runs none of their scripts (`npm install` of this package fails
on dependencies that live outside the registry; the prebuilt file needs none of them). The tarballs are pinned
by checksum; only the needed files are kept, in `.cache/stack/` of the repository, so that the second start
needs no network.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "stack"
DOWNLOAD_TIMEOUT_SECONDS = 120


class LibraryError(Exception):
    """The library can't be had; the text says what to do."""


@dataclass(frozen=True)
class Package:
    """One file of one npm package, and the name under which a deployment serves it."""

    specification: str
    sha512: str
    member: str
    served_as: str


LIB_JITSI_MEET = Package(
    specification="@lyno/lib-jitsi-meet@2.6726.2",
    sha512="713aca060cb86470fabf21533803b1e72972ce35acddfb7a30b866721bbdcd1a"
    "bbb8bafca260f8944d9f9927e8ca84aa32315cff7b14f572d85e2276d61a90bb",
    member="package/lib-jitsi-meet.min.js",
    served_as="lib-jitsi-meet.min.js",
)
JQUERY = Package(
    specification="jquery@3.7.1",
    sha512="9b86afafcc8bf2498537ca6cadb14516607f21fd7888de68f67c3f3609e733e9"
    "326c326946c0329d5d81b1fa5362b4d1cac6147400d50fb0a45148b3824a4b7e",
    member="package/dist/jquery.min.js",
    served_as="jquery-3.7.1.min.js",
)
PACKAGES = (LIB_JITSI_MEET, JQUERY)


def ensure_library(cache: Path = CACHE) -> Path:
    """The folder with the scripts, filled on first use. Blocking: call it before an event loop or in a thread."""
    for package in PACKAGES:
        if not (cache / _cached_name(package)).is_file():
            _fetch(package, cache)
    return cache


def cached_file(package: Package, cache: Path = CACHE) -> Path:
    """Where `ensure_library` keeps the package's file."""
    return cache / _cached_name(package)


def _cached_name(package: Package) -> str:
    """The checksum is part of the name, so that a new pin never meets an old file."""
    return f"{package.sha512[:16]}-{package.served_as}"


def _fetch(package: Package, cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as workspace:
        tarball = _pack(package, Path(workspace))
        _verify(package, tarball)
        extracted = Path(workspace) / "extracted"
        _extract(package, tarball, extracted)
        extracted.replace(cached_file(package, cache))


def _pack(package: Package, workspace: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise LibraryError(
            f"npm is not installed, and {package.specification} is not in the cache: install npm (Node.js)"
        )
    command = [npm, "pack", package.specification, "--loglevel=error", "--ignore-scripts"]
    try:
        result = subprocess.run(
            command, cwd=workspace, capture_output=True, text=True, check=False, timeout=DOWNLOAD_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise LibraryError(f"npm pack {package.specification} took longer than {DOWNLOAD_TIMEOUT_SECONDS} s") from None
    tarballs = list(workspace.glob("*.tgz"))
    if result.returncode != 0 or len(tarballs) != 1:
        complaint = " ".join(result.stderr.split())[:300]
        raise LibraryError(f"npm pack {package.specification} failed: {complaint or 'no tarball'}")
    return tarballs[0]


def _verify(package: Package, tarball: Path) -> None:
    digest = hashlib.sha512(tarball.read_bytes()).hexdigest()
    if digest != package.sha512:
        raise LibraryError(
            f"wrong checksum of {package.specification}: expected sha512 {package.sha512[:16]}…, got {digest[:16]}…"
        )


def _extract(package: Package, tarball: Path, target: Path) -> None:
    with tarfile.open(tarball, "r:gz") as archive:
        source = archive.extractfile(package.member)
        if source is None:
            raise LibraryError(f"{package.specification} holds no file {package.member}")
        with source, target.open("wb") as destination:
            shutil.copyfileobj(source, destination)
