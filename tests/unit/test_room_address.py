"""Addresses of rooms, as people paste them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meeta_bot import room_address
from meeta_bot.errors import InvalidRoomUrl

HERE = "https://meet.example.org"

# Of a path at HERE: the deployment's part of it, and the room's node in the XMPP address room@conference.…; as the
# functions of the web application (jitsi-meet of November 2026, under node) and the URL of browsers have it.
NAMES = [
    # plain
    ("WeeklyStandup", "", "weeklystandup"),
    ("weekly-standup", "", "weekly-standup"),
    ("Weekly_Standup.2026", "", "weekly_standup.2026"),
    ("~a.b-c_d~", "", "~a.b-c_d~"),
    # signs that the web application takes out
    ("a+b", "", "ab"),
    ("C++Users", "", "cusers"),
    ("Two+Words", "", "twowords"),
    ("R&D", "", "rd"),
    ("Q&A?x=1", "", "qa"),
    ("it's(a)~room*!", "", "itsa~room"),
    ("a,b;c=d", "", "abcd"),
    ("Price$100", "", "price100"),
    ("user@home", "", "userhome"),
    ("a:b", "", "ab"),
    ("[team]", "", "team"),
    ("Room;x=1", "", "roomx1"),
    # signs that a browser encodes before it sees them
    ("<b>", "", "%3cb%3e"),
    ('say"hi"', "", "say%22hi%22"),
    ("a|b", "", "a%7cb"),
    ("a^b", "", "a%5eb"),
    ("a`b", "", "a%60b"),
    ("{x}", "", "%7bx%7d"),
    # percent escapes
    ("a%2Bb", "", "a%2bb"),
    ("a%2bB", "", "a%2bb"),
    ("a%26b", "", "a%26b"),
    ("a%27b", "", "a'b"),
    ("a%2Fb", "", "a%2fb"),
    ("a%3Fb%23c", "", "a%3fb%23c"),
    ("a%5Cb", "", "a%5cb"),
    ("%41BC", "", "abc"),
    ("a%25b", "", "a%25b"),
    ("a%2525", "", "a%2525"),
    ("Room%00", "", "room%00"),
    ("Room%0Ax", "", "room%0ax"),
    # broken ones: then none of the name is decoded
    ("100%", "", "100%25"),
    ("%", "", "%25"),
    ("%zz", "", "%25zz"),
    ("a%2", "", "a%252"),
    ("%FF", "", "%25ff"),
    ("%C3%28x", "", "%25c3%2528x"),
    ("%C3%A9%", "", "%25c3%25a9%25"),
    # spaces
    ("Two Words", "", "two%20words"),
    ("Two%20Words", "", "two%20words"),
    ("  Padded", "", "%20%20padded"),
    ("tab\tbed", "", "tabbed"),
    ("a\u00a0b", "", "a%20b"),
    ("a\u200bb", "", "a%e2%80%8bb"),
    # letters
    ("Caf\u00e9", "", "caf%c3%a9"),
    ("Cafe\u0301", "", "caf%c3%a9"),
    ("Caf%C3%A9", "", "caf%c3%a9"),
    ("Cafe%CC%81", "", "caf%c3%a9"),
    ("Straße", "", "stra%c3%9fe"),
    ("STRASSE", "", "strasse"),
    ("Ärzte", "", "%c3%a4rzte"),
    ("%C3%84rzte", "", "%c3%a4rzte"),
    ("\ufb01ne", "", "fine"),
    ("①②", "", "12"),
    ("Ⅷ", "", "viii"),
    ("ΣΊΣΥΦΟΣ", "", "%cf%83%ce%af%cf%83%cf%85%cf%86%ce%bf%cf%82"),
    ("İstanbul", "", "i%cc%87stanbul"),
    ("Фокус", "", "%d1%84%d0%be%d0%ba%d1%83%d1%81"),
    ("日本語", "", "%e6%97%a5%e6%9c%ac%e8%aa%9e"),
    ("ｆｕｌｌ", "", "full"),
    # emoji, right to left
    ("🙂", "", "%f0%9f%99%82"),
    ("%F0%9F%99%82", "", "%f0%9f%99%82"),
    ("👩\u200d👧", "", "%f0%9f%91%a9%e2%80%8d%f0%9f%91%a7"),
    ("שלום", "", "%d7%a9%d7%9c%d7%95%d7%9d"),
    ("مرحبا", "", "%d9%85%d8%b1%d8%ad%d8%a8%d8%a7"),
    ("\u202eadA", "", "%e2%80%aeada"),
    # query, fragment
    ("Room?lang=de", "", "room"),
    ("Room?a=b#c/d", "", "room"),
    ("Room#config.x=1", "", "room"),
    # tenants, sub-paths
    ("acme/Standup", "/acme", "standup"),
    ("ACME/Standup", "/acme", "standup"),
    ("a+b/Standup", "/ab", "standup"),
    ("Ärzte/Visite", "/%c3%a4rzte", "visite"),
    ("sub/path/Room", "/sub/path", "room"),
    ("acme//Room", "/acme", "room"),
    ("acme/../Room", "", "room"),
    ("./Room", "", "room"),
    ("a\\b", "/a", "b"),
    # The web application would show its start page; nobody means that who names a room.
    ("Room/", "", "room"),
    ("acme/Room//", "/acme", "room"),
]


@pytest.mark.parametrize(("path", "above", "room"), NAMES)
def test_the_room_is_the_one_that_people_get_to(path: str, above: str, room: str) -> None:
    address = room_address.parse(f"{HERE}/{path}")
    assert (address.deployment, address.room) == (f"{HERE}{above}", room)


@pytest.mark.parametrize("path", [path for path, _, _ in NAMES])
def test_the_address_that_is_opened_is_plain_and_names_the_same_room(path: str) -> None:
    address = room_address.parse(f"{HERE}/{path}")
    assert address.url.isascii()
    assert address.url.isprintable()
    again = room_address.parse(address.url)
    assert (again.key, again.url, again.page_key) == (address.key, address.url, address.page_key)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("  https://meet.example.org/Standup \n", "https://meet.example.org/Standup"),
        ("meet.example.org/Standup", "https://meet.example.org/Standup"),
        ("HTTPS://MEET.Example.ORG/Standup/", "https://meet.example.org/Standup"),
        ("https://meet.example.org:443/Standup", "https://meet.example.org/Standup"),
        ("https://meet.example.org:8443/Standup", "https://meet.example.org:8443/Standup"),
        ("http://meet.example.org:80/Standup", "http://meet.example.org/Standup"),
        ("http://127.0.0.1:8080/Standup", "http://127.0.0.1:8080/Standup"),
        ("https://[2001:DB8::1]:8443/Standup", "https://[2001:db8::1]:8443/Standup"),
        ("https://b\u00fccher.example/Standup", "https://xn--bcher-kva.example/Standup"),
        ("https://xn--bcher-kva.example/Standup", "https://xn--bcher-kva.example/Standup"),
        ("https://alice@meet.example.org/Standup", "https://meet.example.org/Standup"),
        ("https://alice:hush@meet.example.org/Standup?jwt=hush#jwt=hush", "https://meet.example.org/Standup"),
    ],
)
def test_the_address_that_is_opened_is_in_the_browsers_form(text: str, url: str) -> None:
    address = room_address.parse(text)
    assert address.url == url
    assert (f"{address.deployment}/Standup", address.room) == (url, "standup")


@pytest.mark.parametrize(
    ("path", "typed", "shown"),
    [
        ("a+b", "a+b", "ab"),
        ("R&D", "R&D", "rd"),
        ("Two+Words?lang=de", "Two+Words", "twowords"),
        ("①②", "①②", "12"),
        ("a+b/Standup", "a+b/Standup", "ab/standup"),
        ("WeeklyStandup", None, "weeklystandup"),
        ("Two%20Words", None, "two words"),
        ("Cafe\u0301", None, "caf\u00e9"),
        ("100%", None, "100%"),
        ("%FF", None, "%ff"),
        ("ACME/Standup", None, "acme/standup"),
    ],
)
def test_a_room_that_is_called_otherwise_than_its_address_says_so(path: str, typed: str | None, shown: str) -> None:
    address = room_address.parse(f"{HERE}/{path}")
    assert (address.typed, address.shown_path) == (typed, shown)
    assert (address.other_name is None) == (typed is None)
    if address.other_name is not None:
        assert address.other_name.startswith(f"{typed} is the room {shown}:")


def test_the_deployment_is_the_address_without_the_room() -> None:
    assert room_address.parse("https://h.example/t/Room").deployment == "https://h.example/t"
    assert room_address.parse("https://h.example:1234/Room").deployment == "https://h.example:1234"


def test_the_same_name_composed_and_decomposed_is_one_room() -> None:
    composed = room_address.parse("https://meet.example.org/Caf%C3%A9")
    assert room_address.parse("https://meet.example.org/Cafe%CC%81").room == composed.room


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30))
def test_the_name_of_a_room_is_the_same_when_it_is_normalized_again(text: str) -> None:
    once = room_address.room_name(text.replace("%", ""))
    assert room_address.room_name(once) == once
    assert once.isascii()


def test_a_token_is_taken_out_of_the_address_and_does_not_show() -> None:
    address = room_address.parse("https://meet.example.org/Standup?jwt=aa.bb.cc&lang=de")
    assert address.token == "aa.bb.cc"
    assert "aa.bb" not in address.url
    assert "aa.bb" not in repr(address)


@pytest.mark.parametrize(
    ("link", "token"),
    [
        ("?jwt=aa.bb", "aa.bb"),
        ("#jwt=aa.bb", "aa.bb"),
        ("#jwt=%22aa.bb%22", "aa.bb"),
        ("#jwt=%E2%80%9Caa.bb%E2%80%9D", "aa.bb"),
        ("?jwt=of.query#jwt=of.fragment", "of.fragment"),
        ("?lang=de&jwt=aa.bb&x=y", "aa.bb"),
        ("?jwt=", None),
        ("#jwt=", None),
        ("?jwt", None),
        ("", None),
    ],
)
def test_a_link_has_its_token_where_the_web_application_looks_for_it(link: str, token: str | None) -> None:
    assert room_address.parse(f"{HERE}/Standup{link}").token == token


def test_user_and_password_are_taken_out_of_the_address_and_do_not_show() -> None:
    address = room_address.parse("https://%C3%84rztin:h%40sh%3A@meet.example.org/Standup")
    assert address.credentials == room_address.HttpCredentials("Ärztin", "h@sh:")
    assert "h@sh" not in repr(address) + repr(address.credentials) + str(address.credentials)
    assert room_address.parse(f"{HERE}/Standup").credentials is None


@pytest.mark.parametrize(
    ("fragment", "overrides"),
    [
        ("#config.preferBosh=true", (("preferBosh", "true"),)),
        ("#config.bridgeChannel.preferSctp=false&x=y", (("bridgeChannel.preferSctp", "false"),)),
        (
            "#config.webrtcIceTcpDisable=1&config.forceTurnRelay=%22yes%22",
            (("forceTurnRelay", '"yes"'), ("webrtcIceTcpDisable", "1")),
        ),
        ("#config.startWithAudioMuted=true", ()),
        ("#config.hosts.domain=%22evil.example%22", ()),
        ("#config.preferBosh=broken", ()),
        ("#preferBosh=true", ()),
        ("#config.=1", ()),
    ],
)
def test_of_a_links_configuration_only_the_connections_counts(
    fragment: str, overrides: tuple[tuple[str, str], ...]
) -> None:
    assert room_address.parse(f"{HERE}/Standup{fragment}").overrides == overrides


def test_rooms_share_a_page_unless_their_links_differ_in_what_it_needs() -> None:
    def key(text: str) -> object:
        return room_address.parse(text).page_key

    assert key(f"{HERE}/A") == key(f"{HERE}/B?jwt=x#config.startSilent=true")
    others = [f"{HERE}/t/A", "https://u:p@meet.example.org/A", f"{HERE}/A#config.preferBosh=true"]
    assert len({key(text) for text in [f"{HERE}/A", *others]}) == len(others) + 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "https://",
        "https:///Room",
        "//meet.example.org/Room",
        "meet.example.org",
        "https://meet.example.org",
        "https://meet.example.org/",
        "https://meet.example.org//",
        "https://meet.example.org/?jwt=x",
        "https://meet.example.org/#Room",
        "https://meet.example.org/..",
        "https://meet.example.org/tenant/.",
        "https://meet.example.org/tenant/.?x=1",
        "https://meet.example.org/tenant/..#x",
        "https://meet.example.org/tenant/\\..",
        "https://meet.example.org/+",
        "https://meet.example.org/(!)",
        "https://meet.example.org/%2e%2E",
        "https://meet.example.org:port/Room",
        "https://meet.example.org:99999/Room",
        "https://[::1/Room",
        "https://exa mple.org/Room",
        "https://meet.example.org\\@other.example/Room",
        "https://meet.example.org%2F@/Room",
        "ftp://meet.example.org/Room",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:text/html,Room",
        "https://meet.example.org/\udcff",
        "https://\udcff/Room",
        "\x00",
    ],
)
def test_what_is_no_room_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidRoomUrl) as refusal:
        room_address.parse(text)
    assert "\n" not in str(refusal.value)
    assert refusal.value.hint


@given(st.text(st.characters(codec=None, categories=None), max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidRoomUrl):
        address = room_address.parse(text)
        assert room_address.parse(address.url).room == address.room
        assert address.url.startswith(("https://", "http://"))


@pytest.mark.parametrize(
    "text",
    [
        "ftp://meet.example.org/Room?jwt=hush",
        "https://meet.example.org/?jwt=hush",
        "https://meet.example.org/#jwt=hush",
        "https://alice:hush@meet.example.org/",
        "https://alice:hush@meet.example.org:port/Room",
        "https://alice:hush@[::1/Room",
    ],
)
def test_a_refusal_shows_no_secret(text: str) -> None:
    with pytest.raises(InvalidRoomUrl) as refusal:
        room_address.parse(text)
    assert "hush" not in str(refusal.value)


def test_a_refusal_shows_no_control_characters_and_is_not_endless() -> None:
    with pytest.raises(InvalidRoomUrl) as refusal:
        room_address.parse("ftp://\x1b[31m" + "x" * 100_000)
    assert "\x1b" not in str(refusal.value)
    assert len(str(refusal.value)) < 300
