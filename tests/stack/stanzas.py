"""XMPP stanzas as text, and the namespaces this stack speaks. Test equipment.

Elements are written without prefixes: lib-jitsi-meet finds them by tag name, and ElementTree's `ns0:` would
hide them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

COMPONENT = "jabber:component:accept"  # XEP-0114
DISCO_INFO = "http://jabber.org/protocol/disco#info"  # XEP-0030
MUC = "http://jabber.org/protocol/muc"  # XEP-0045
MUC_ADMIN = "http://jabber.org/protocol/muc#admin"
MUC_OWNER = "http://jabber.org/protocol/muc#owner"
MUC_USER = "http://jabber.org/protocol/muc#user"
NICK = "http://jabber.org/protocol/nick"  # XEP-0172
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
JINGLE = "urn:xmpp:jingle:1"  # XEP-0166
JINGLE_RTP = "urn:xmpp:jingle:apps:rtp:1"  # XEP-0167
JINGLE_SOURCES = "urn:xmpp:jingle:apps:rtp:ssma:0"  # XEP-0339
JINGLE_GROUPING = "urn:xmpp:jingle:apps:grouping:0"  # XEP-0338
FOCUS = "http://jitsi.org/protocol/focus"
COLIBRI = "http://jitsi.org/protocol/colibri"
JIBRI = "http://jitsi.org/protocol/jibri"
JITMEET = "http://jitsi.org/jitmeet"
STACK_BREAKOUTS = "urn:meeta:stack:breakouts"  # this stack's own: see plugins/mod_stack_breakouts.lua

Attributes = Mapping[str, str | None]


def element(name: str, attributes: Attributes, *children: str) -> str:
    """One element; attributes that are None are left out; children are markup already (see `text`)."""
    head = name + "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items() if value is not None)
    return f"<{head}>{''.join(children)}</{name}>"


def text(value: str) -> str:
    """Character data, escaped."""
    return escape(value)


def serialize(parsed: Element) -> str:
    """A parsed element back to text, with its namespace declared on itself instead of by a prefix."""
    namespace, name = split_tag(parsed)
    attributes: dict[str, str | None] = {"xmlns": namespace or None}
    attributes |= {key: value for key, value in parsed.attrib.items() if not key.startswith("{")}
    return element(name, attributes, text(parsed.text or ""), serialize_all(parsed))


def serialize_all(parsed: Iterable[Element]) -> str:
    """Several parsed elements back to text."""
    return "".join(serialize(child) for child in parsed)


def split_tag(parsed: Element) -> tuple[str, str]:
    """Namespace and local name of a parsed element."""
    if parsed.tag.startswith("{"):
        namespace, _, name = parsed.tag[1:].partition("}")
        return namespace, name
    return "", parsed.tag


def qualified(namespace: str, name: str) -> str:
    """The way ElementTree writes a tag."""
    return f"{{{namespace}}}{name}"


def error(kind: str, condition: str, *more: str) -> str:
    """The <error/> child of an error stanza (RFC 6120, 8.3)."""
    return element("error", {"type": kind}, element(condition, {"xmlns": STANZAS}), *more)
