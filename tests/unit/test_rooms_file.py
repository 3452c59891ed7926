"""Lists of rooms: three forms, values of a room's own, and what is said of those that can't be used."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from meeta_bot.cli.rooms_file import RoomsFile
from meeta_bot.errors import UsageError

STANDUP = "https://meet.example.org/Standup"
BOARD = "https://meet.example.org/Board"
SECRET = "correct horse battery staple"

TOML = """
# mornings
[[room]]
url = "https://meet.example.org/Standup"

[[room]]
url = "meet.example.org/Board"
name = "Minutes"
password_file = "board.txt"
token = "a.b.c"
max_duration = "1h30m"
nobody_came_timeout = 300
left_alone_grace = 0.5
schedule_key = "board-2026"
labels = { team = "board", "cost centre" = "4711" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "board.txt").write_text(f"{SECRET}\n")
    return tmp_path


def listed(folder: Path, text: str | bytes, name: str = "rooms") -> RoomsFile:
    file = folder / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    file.chmod(0o600)
    return RoomsFile(str(file))


def refused(folder: Path, text: str | bytes) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        listed(folder, text)
    message, hint = str(caught.value), caught.value.hint or ""
    assert "\n" not in message + hint
    assert hint, message
    assert SECRET not in message + hint
    return message.replace(f"{folder}/", ""), hint


def as_toml(**values: Any) -> str:
    """A list of one room."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(["[[room]]", f'url = "{STANDUP}"', *lines])


def as_json(**values: Any) -> str:
    return json.dumps({"url": STANDUP, **values})


def test_a_plain_list_has_addresses_comments_and_repetition(folder: Path) -> None:
    lines = ["\ufeff# mornings", "", STANDUP, f"{BOARD} # the board", "meet.example.org/standup", ""]
    rooms = listed(folder, "\r\n".join(lines)).rooms
    assert [room.address.url for room in rooms.values()] == [STANDUP, BOARD]
    assert [room.own for room in rooms.values()] == [{}, {}]


def test_toml_gives_each_room_values_of_its_own(folder: Path) -> None:
    standup, board = listed(folder, TOML).rooms.values()
    assert (standup.address.url, standup.own) == (STANDUP, {})
    assert (board.address.url, board.own) == (
        BOARD,
        {
            "name": "Minutes",
            "password_file": folder / "board.txt",
            "token": SecretStr("a.b.c"),
            "max_duration": 5400,
            "nobody_came_timeout": 300,
            "left_alone_grace": 0.5,
            "schedule_key": "board-2026",
            "labels": {"team": "board", "cost centre": "4711"},
        },
    )


def test_json_lines_give_the_same_as_toml(folder: Path) -> None:
    lines = [
        {"url": STANDUP},
        {
            "labels": {"team": "board", "cost centre": "4711"},
            **{"url": BOARD, "name": "Minutes", "password_file": str(folder / "board.txt"), "token": "a.b.c"},
            **{"max_duration": "90m", "nobody_came_timeout": "5m", "left_alone_grace": 0.5},
            "schedule_key": "board-2026",
        },
    ]
    text = "# comments are skipped\n\n" + "\n".join(map(json.dumps, lines))
    assert listed(folder, text).rooms == listed(folder, TOML).rooms


def test_files_lie_beside_the_list_from_wherever_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "lists").mkdir()
    (folder / "lists" / "own.txt").write_text("x")
    (folder / "lists" / "rooms").write_text(as_toml(password_file="own.txt"))
    monkeypatch.chdir(folder)
    (room,) = RoomsFile("lists/rooms").rooms.values()
    assert room.own == {"password_file": folder / "lists" / "own.txt"}


@pytest.mark.parametrize("written", [as_toml, as_json], ids=["TOML", "JSON Lines"])
@pytest.mark.parametrize(
    ("values", "says", "advises"),
    [
        ({"nmae": "x"}, "unknown key 'nmae'", "did you mean 'name'?"),
        ({"colour": "x"}, "unknown key 'colour'", "known are url, name"),
        ({"password": SECRET, "password_file": "board.txt"}, "both password and password_file", "keep one"),
        ({"token": SECRET, "token_file": "board.txt"}, "both token and token_file", "keep one"),
        ({"password": 4711}, "password that is not a text", "in quotes"),
        ({"password": ""}, "empty password", "leave password out"),
        ({"password": f"{SECRET}\n"}, "password with a control character", "one line"),
        ({"token": [SECRET]}, "token that is not a text", "in quotes"),
        ({"name": " "}, "empty name", "leave name out"),
        ({"password_file": "gone.txt"}, "password_file that can't be used: Can't read", "first line of a file"),
        ({"token_file": "."}, "token_file that can't be used: Can't read", "first line of a file"),
        ({"password_file": "-"}, "password_file of -", "name a file"),
        ({"max_duration": 0}, "max_duration that is not a duration", '"1h30m"'),
        ({"max_duration": True}, "max_duration that is not a duration", '"1h30m"'),
        ({"max_duration": 10**400}, "max_duration that is not a duration", '"1h30m"'),
        ({"max_duration": "9" * 400}, "max_duration that is not a duration", '"1h30m"'),
        ({"nobody_came_timeout": "soon"}, "nobody_came_timeout that is not a duration", '"1h30m"'),
        ({"left_alone_grace": -1}, "left_alone_grace that is not a duration", '"1h30m"'),
        ({"labels": "x"}, "labels that are not a table", "labels = {"),
        ({"schedule_key": ["x"]}, "schedule_key that is not a text", "in quotes"),
    ],
)
def test_a_value_that_can_t_be_used_is_refused_in_a_line(
    folder: Path, written: Any, values: dict[str, Any], says: str, advises: str
) -> None:
    message, hint = refused(folder, written(**values))
    place = f"rooms, room 1 ({STANDUP}): it has" if written is as_toml else "rooms, line 1: it has"
    assert message.startswith(place)
    assert says in message
    assert advises in hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (as_json(labels={"team": 5}), "line 1: it has a label 'team' that is not a text"),
        (as_json(labels={"": "x"}), "line 1: it has an empty label's name"),
        ('{"url": 5}', "line 1: it has a url that is not a text"),
        ('{"name": "x"}', "line 1: it has no url"),
        ('{"url": "ftp://x/y"}', "line 1: 'ftp://x/y' is not an http or https address"),
        (f'{as_json()}\n{{"url": "x/y", "token": "{SECRET}}}', "line 2 is not valid JSON: column "),
        (f"{as_json()}\n[]", "line 2: it is not a table of values"),
        ('{"url": "x/y", "url": "x/z"}', "line 1 has the key 'url' twice"),
        (as_json(name="\ud800"), "name with a control character"),
        (as_json() + "\n{" + '"a":{' * 100_000, "line 2 can't be used"),
        (f'{{"url": "x/y", "max_duration": {"9" * 5000}}}', "line 1 can't be used"),
        (f"{STANDUP}\n{as_json()}", "line 2"),
        (f'[[room]]\nurl = "{STANDUP}"\ntoken = "{SECRET}', "rooms is not valid TOML"),
        (f'[[room]]\nurl = "{STANDUP}"\ntoken = {SECRET}\n', "rooms is not valid TOML: line 3"),
        ("room = 5", "rooms has a room that is not a [[room]]"),
        (f'[room]\nurl = "{STANDUP}"', "rooms has a room that is not a [[room]]"),
        (f'[[rooms]]\nurl = "{STANDUP}"', "rooms has 'rooms' outside of any [[room]]"),
        ("room = [5]", "room 1: it is not a table of values"),
        ("[[room]]", "room 1: it has no url"),
        ("room = []", "names no room"),
        ("a = " + "[" * 100_000, "rooms is not valid TOML"),
        (b"\n\xff\xfe", "rooms is not valid UTF-8: line 2"),
        (f"{STANDUP}?jwt=one\n{STANDUP}", "line 2: it names the room of line 1 with other values"),
        (f"{as_toml()}\n{as_toml(name='x')}", f"room 2 ({STANDUP}): it names the room of room 1"),
    ],
)
def test_a_list_that_can_t_be_used_is_refused_in_a_line(folder: Path, text: str | bytes, says: str) -> None:
    message, _ = refused(folder, text)
    assert says in message


def test_the_same_room_twice_with_the_same_values_is_one(folder: Path) -> None:
    text = as_json(max_duration=90, password=SECRET) + "\n" + as_json(password=SECRET, max_duration="90s")
    assert len(listed(folder, text).rooms) == 1


@pytest.mark.parametrize(
    ("mode", "text", "warns"),
    [
        (0o600, as_toml(password=SECRET), False),
        (0o640, as_toml(password=SECRET), True),
        (0o604, as_json(token=SECRET), True),
        (0o644, f"{STANDUP}?jwt={SECRET.replace(' ', '')}", True),
        (0o644, as_toml(password_file="board.txt"), False),
        (0o644, STANDUP, False),
    ],
)
def test_secrets_that_others_may_read_are_warned_of_once(folder: Path, mode: int, text: str, warns: bool) -> None:
    file = folder / "rooms"
    file.write_text(text)
    file.chmod(mode)
    listing = RoomsFile(str(file))
    warning = listing.warning()
    assert (warning is not None) == warns
    assert SECRET not in (warning or "")
    listing.reread()
    assert listing.warning() is None


def test_secrets_stay_out_of_what_is_printed_of_a_room(folder: Path) -> None:
    rooms = listed(folder, as_toml(password=SECRET, token=SECRET)).rooms
    assert SECRET not in repr(rooms)


def test_a_list_that_is_read_again_tells_new_gone_and_changed_rooms(folder: Path) -> None:
    listing = listed(folder, f'{{"url": "{STANDUP}"}}\n{{"url": "{BOARD}", "name": "x"}}')
    listed(folder, f'{{"url": "{BOARD}", "name": "y"}}\n{{"url": "x/new"}}')
    changes = listing.reread()
    assert [[room.address.room for room in rooms] for rooms in changes] == [["new"], ["standup"], ["board"]]
    assert [len(rooms) for rooms in listing.reread()] == [0, 0, 0]
    (folder / "rooms").write_text("nothing/\n")
    with pytest.raises(UsageError):
        listing.reread()
    assert len(listing.rooms) == 2


@given(st.text() | st.binary())
def test_whatever_stands_in_a_list_is_refused_by_an_error_of_the_tree_or_taken(
    tmp_path_factory: pytest.TempPathFactory, text: str | bytes
) -> None:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    for beginning in (b"", b"{", b'{"url": "x/y", ', b"[[room]]\n", b'[[room]]\nurl = "x/y"\n', b"x/y\n"):
        with contextlib.suppress(UsageError):
            assert listed(tmp_path_factory.getbasetemp(), beginning + raw).rooms
