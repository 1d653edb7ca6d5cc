"""http and https URLs: taken apart, and followed. Whatever cannot stand in a request line is
refused.
"""

from node.core.errors import PeerError


class HttpError(PeerError):
    """The peer, or the link to it, does not do what HTTP asks. `code` is a stable word: url's or
    http's.
    """


def split_url(url: str) -> "tuple[bool, str, int, str]":
    """(tls, host, port, path) of an http or https URL. Raises HttpError("http-url")."""
    tls = url.startswith("https://")
    if not tls and not url.startswith("http://"):
        raise HttpError("http-url")
    rest = url[8 if tls else 7 :]
    cut = rest.find("/")
    authority, path = (rest, "/") if cut < 0 else (rest[:cut], rest[cut:])
    host, colon, port = authority.partition(":")
    try:
        number = int(port) if colon else 443 if tls else 80
    except ValueError:
        raise HttpError("http-url")
    if not host or "@" in host or not 0 < number < 65536 or not is_plain(url):
        raise HttpError("http-url")
    return tls, host, number, path


def join_url(base: str, location: str) -> str:
    """Where a redirect from `base` leads. Raises HttpError: http-url, or http-downgrade (https to
    http).
    """
    if location.startswith("//"):
        location = base[: base.find(":") + 1] + location
    elif location.startswith("/"):
        tls, host, port, _ = split_url(base)
        location = "%s://%s:%d%s" % ("https" if tls else "http", host, port, location)
    if base.startswith("https:") and not location.startswith("https:"):
        raise HttpError("http-downgrade")
    split_url(location)
    return location


def is_plain(text: str) -> bool:
    """Whether the text can stand in a request line: visible ASCII only, so that nothing can be
    injected.
    """
    return all(33 <= ord(c) < 127 for c in text)
