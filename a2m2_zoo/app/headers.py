"""What a request says of itself, read strictly: whatever is malformed is refused before anything sees it."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from a2m2_zoo.errors import ArgumentError

#: The cookie that tells visitors apart.
COOKIE = "a2m2_visitor"
_PLACE = r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
_HOST = re.compile(_PLACE)
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<place>" + _PLACE + r")")
_VISITOR = re.compile(rf"(?:^|;)\s*{COOKIE}=([0-9a-f]{{32}})\s*(?:;|$)")
_KIND = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(\s*;[^\x00-\x1f]*)?")
_TEXT = re.compile(rb"[\t\x20-\x7e]*")
_ONCE = frozenset({"host", "origin", "content-length", "content-type", "range"})


class Malformed(Exception):  # noqa: N818 - it says what a request is
    """A header that means nothing; the message is one line for whoever sent it."""


@dataclass(frozen=True)
class Place:
    """A host and its port, as an address names them.

    Attributes:
        name: In lower case, without brackets.
        port: None where none is named.
    """

    name: str
    port: int | None


@dataclass(frozen=True)
class Origin:
    """A site, as a browser names it.

    Attributes:
        scheme: ``http`` or ``https``; empty for a site that hides itself.
        place: Its host and port.
    """

    scheme: str
    place: Place | None

    def same(self, other: Origin) -> bool:
        """Whether both are one site; a port that is left out is the scheme's."""
        return self._full() == other._full()

    def _full(self) -> tuple[str, str, int] | None:
        if self.place is None:
            return None
        return (
            self.scheme,
            self.place.name,
            self.place.port or (443 if self.scheme == "https" else 80),
        )


@dataclass(frozen=True)
class Headers:
    """The headers that are looked at; no other is believed or handed on.

    Attributes:
        host: Where the request was sent; None where that is left open.
        origin: The site it comes from; None where it does not say.
        length: Bytes of its body; None where they were not announced.
        kind: The type of its body.
        visitor: The visitor, by a cookie that this page gave; empty without one.
        plain: What may be handed on as it is.
    """

    host: Place | None
    origin: Origin | None
    length: int | None
    kind: str
    visitor: str
    plain: tuple[tuple[bytes, bytes], ...]


def read_headers(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Read the headers of a request.

    Raises:
        Malformed: One of them is no header of its kind, or is there twice.
    """
    found: dict[str, str] = {}
    cookies: list[str] = []
    plain: list[tuple[bytes, bytes]] = []
    for key, value in raw:
        if not _TEXT.fullmatch(key) or not _TEXT.fullmatch(value):
            raise Malformed("a header holds bytes that do not belong there")
        name, text = key.decode("ascii").lower(), value.decode("ascii").strip()
        if name in _ONCE:
            if name in found:
                raise Malformed(f"the header {name!r} is there twice")
            found[name] = text
        if name == "cookie":  # which proxies may split
            cookies.append(text)
        if name in ("accept", "accept-encoding", "range"):
            plain.append((key, value))
    return Headers(
        host=_place(found.get("host", "")),
        origin=_origin(found.get("origin")),
        length=_length(found.get("content-length")),
        kind=_kind(found.get("content-type", "")),
        visitor="".join(_VISITOR.findall(";".join(cookies))[:1]),
        plain=tuple(plain),
    )


@dataclass(frozen=True)
class PublicOrigin:
    """Where visitors open the page, when something stands before it.

    Attributes:
        url: The whole, without a slash at its end.
        origin: Its site.
        path: The path it has there; empty for the root.
    """

    url: str
    origin: Origin
    path: str

    @classmethod
    def parse(cls, text: str) -> PublicOrigin:
        """Read an address such as ``https://clips.example.org`` or ``https://example.org/clips``.

        Raises:
            ArgumentError: It is not such an address.
        """
        try:
            parts = urlsplit(text)
            origin = _origin(f"{parts.scheme}://{parts.netloc}")
        except (ValueError, Malformed):
            origin = None
        path = "" if origin is None else parts.path.rstrip("/")
        odd = origin is None or origin.place is None or parts.query or parts.fragment
        if origin is None or odd or not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", path) or "/." in path:
            raise ArgumentError(
                f"the public origin is {text!r}; expected an address such as https://clips.example.org "
                "or https://example.org/clips"
            )
        return cls(f"{parts.scheme}://{parts.netloc.lower()}{path}", origin, path)


@dataclass(frozen=True)
class Names:
    """What the page may be called: ``name in names``.

    Attributes:
        names: In lower case.
        addresses: Whether any IP address is one, too. Nobody can make an address lead elsewhere, as the owner
            of another site can with its name.
    """

    names: frozenset[str]
    addresses: bool

    def __contains__(self, name: object) -> bool:
        return name in self.names or (self.addresses and _is_address(str(name)))


def host_name(text: str) -> str:
    """A host that visitors may call the page by, as ``Place`` has it.

    Raises:
        ArgumentError: It is no name of a host.
    """
    try:
        place = _place(text)
    except Malformed:
        place = None
    if place is None or place.port is not None:
        raise ArgumentError(
            f"the host to allow is {text!r}; expected a name such as clips.example.org, without http:// and "
            "without a port"
        )
    return place.name


def new_visitor() -> str:
    """A value for the cookie that nobody can guess."""
    return secrets.token_hex(16)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _place(text: str) -> Place | None:
    if not text:
        return None
    found = _HOST.fullmatch(text)
    if found is None:
        raise Malformed("the header 'host' names no host")
    name, port = found["name"].lower(), found["port"]
    if name.startswith("["):
        name = name[1:-1]
        try:
            ipaddress.IPv6Address(name)
        except ValueError:
            raise Malformed("the header 'host' names no host") from None
    if port is not None and not 0 < int(port) < 65536:
        raise Malformed("the header 'host' names no port")
    return Place(name, None if port is None else int(port))


def _origin(text: str | None) -> Origin | None:
    if text is None:
        return None
    if text == "null":
        return Origin("", None)
    # Browser extensions and apps have schemes of their own; they are sites like any other.
    foreign = re.fullmatch(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9._-]*", text)
    found = _ORIGIN.fullmatch(text)
    if found is None and (foreign is None or text.startswith("http")):
        raise Malformed("the header 'origin' names no site")
    return Origin("", None) if found is None else Origin(found["scheme"], _place(found["place"]))


def _length(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]+", text):
        raise Malformed("the header 'content-length' is no number")
    return int(text[:18]) if len(text) <= 18 else 10**18


def _kind(text: str) -> str:
    if text and not _KIND.fullmatch(text):
        raise Malformed("the header 'content-type' names no type")
    return text
