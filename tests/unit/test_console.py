"""The console of all commands: texts of others made safe, errors in one line, secrets read."""

from __future__ import annotations

import io
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meeta_bot.cli import console
from meeta_bot.errors import MeetaError, UsageError
from meeta_bot.text import safe_name

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=200)
HARMLESS = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        (None, ""),
        ("", ""),
        (" \t\n ", ""),
        ("[bold red]x[/]", "[bold red]x[/]"),
        ("\x1b[2J\x1b]0;title\x07Ada", "[2J ]0;title Ada"),
        ("C1\x9b31m", "C1 31m"),
        ("a\nb\r\nc\td", "a b c d"),
        ("line\u2028separator", "line separator"),
        ("\u202eadA\u2066", "adA"),
        ("zero\u200b\u200d\u2060width\ufeff", "zerowidth"),
        ("nul\x00l", "nul l"),
        ("lone\ud800surrogate", "lonesurrogate"),
        ("\u3164\u2800\uffa0", ""),
        ("\u0301\u0301Ada", "Ada"),
        ("Z\u0315\u031b\u0321\u0489\u0301\u0302algo", "Z\u0315\u031b\u0321\u0489algo"),
        ("Ве\u0301ра ไม้ที่ नमस्ते", "Ве\u0301ра ไม้ที่ नमस्ते"),
        ("x" * 100_000, "x" * 59 + "…"),
        ("Ada" + "\u202e" * 100_000, "Ada…"),
        ("\u200b" * 100_000 + "late", ""),
    ],
    ids=range(20),
)
def test_names_of_others_are_shown_in_one_harmless_line(given_name: str | None, shown: str) -> None:
    assert safe_name(given_name) == shown


@given(ANY_TEXT)
def test_no_text_can_control_a_terminal_or_grow_endless(text: str) -> None:
    shown = safe_name(text)
    assert not {unicodedata.category(char) for char in shown} & HARMLESS
    assert len(shown) <= 60
    assert safe_name(shown) == shown


@given(ANY_TEXT)
def test_json_on_a_terminal_means_the_same_and_controls_nothing(text: str) -> None:
    shown = console.escape_controls(json.dumps(text, ensure_ascii=False))
    assert json.loads(shown) == text
    assert not set(shown) & set("\x07\x1b\x7f\x9b\u200e\u202e\u2028\u2066\ufeff")


@given(ANY_TEXT, ANY_TEXT)
def test_an_error_is_one_line_and_its_hint_another_whatever_they_quote(text: str, hint: str) -> None:
    written = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", written)
        console.complain(MeetaError(f"wrong: {text}", hint=f"do: {hint}"))
    first, second, end = written.getvalue().split("\n")
    assert first.startswith("error: wrong:")
    assert second.startswith("hint:  do:")
    assert end == ""
    assert "\x1b" not in first + second


@pytest.mark.parametrize("quoted", ["[bold]x[/]", "[/nope]", "\\[red]x", "\\\\[red]x", "[hidden]", "[link=x]y", "x\\"])
def test_brackets_in_an_error_are_no_markup(quoted: str, capsys: pytest.CaptureFixture[str]) -> None:
    console.complain(MeetaError(f"a {quoted} b", hint=quoted))
    assert capsys.readouterr().err == f"error: a {quoted} b\nhint:  {quoted}\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "has an empty first line"),
        (b"\nhush\n", "has an empty first line"),
        (b"\r\n", "has an empty first line"),
        (b"h\xffsh", "is not valid UTF-8"),
    ],
)
def test_a_file_without_a_secret_is_told_without_its_content(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(UsageError) as refusal:
        console.read_secret(str(path))
    assert str(refusal.value) == f"{path} {says}"
    assert "first line of a file" in str(refusal.value.hint)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("/no/such/file", "Can't read /no/such/file: No such file or directory"),
        ("/", "Can't read /: Is a directory"),
        ("", "Can't read '': Is a directory"),
        ("nul\x00", "Can't read nul\x00: embedded null byte"),
    ],
)
def test_a_secret_s_file_that_can_t_be_read_is_told(source: str, says: str) -> None:
    with pytest.raises(UsageError) as refusal:
        console.read_secret(source)
    assert str(refusal.value) == says


@pytest.mark.parametrize("content", [b"hush\n", b"hush", b"hush\r\nmore\n", b"\xef\xbb\xbfhush\n"])
def test_the_first_line_of_a_file_or_of_standard_input_is_the_secret(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert console.read_secret(str(tmp_path / "secret")) == "hush"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert console.read_secret("-") == "hush"


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        (io.TextIOWrapper(io.BytesIO(b"")), "Standard input has an empty first line"),
        (io.TextIOWrapper(io.BytesIO(b"\xff\n")), "Standard input is not valid UTF-8"),
        (None, "Can't read Standard input: it is closed"),
    ],
    ids=["empty", "binary", "closed"],
)
def test_standard_input_without_a_secret_is_told(
    stream: io.TextIOWrapper | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", stream)
    with pytest.raises(UsageError) as refusal:
        console.read_secret("-")
    assert str(refusal.value) == says


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5s", 1.5), ("15m", 900), ("1h30m", 5400)])
def test_durations_as_people_write_them(text: str, seconds: float) -> None:
    assert console.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "1d", "5m5h", "1e3", "½h", "∞"])
def test_what_is_no_duration_is_told(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        console.parse_duration(text)
    assert str(refusal.value) == f"{text!r} is not a duration"
    assert refusal.value.hint == "write it as 90s, 15m or 1h30m"
