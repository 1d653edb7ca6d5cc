"""A name server (RFC 1035) for programs that ask one themselves: it knows the bench's `hosts`.

Any datagram to port 53 beyond the host gets an answer, unless "dns.up" is 0. A name whose target
has a port of its own gets an address of its own (RFC 5737), which getaddrinfo maps.
"""

from . import power, world

_PORT = 53
_RESERVED = "198.51.100.%d"


def serves(address):
    return address[1] == _PORT and address[0][:4] != "127."


def answer(request):
    """The reply, or None: nobody there."""
    if not world.get("dns.up", 1):
        return None
    labels, at = [], 12
    while request[at]:
        labels.append(bytes(request[at + 1 : at + 1 + request[at]]).decode())
        at += 1 + request[at]
    question = bytes(request[12 : at + 5])
    address = _address(".".join(labels))
    if address is None:
        return bytes(request[:2]) + b"\x81\x83\0\1\0\0\0\0\0\0" + question
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([int(part) for part in address.split(".")])
    return bytes(request[:2]) + b"\x81\x80\0\1\0\1\0\0\0\0" + question + record


def _address(name):
    hosts = power.board["hosts"]
    if name == "localhost":
        return "127.0.0.1"
    target = hosts.get(name)
    if target is None or ":" not in target:
        return target
    for number, known in enumerate(sorted(hosts)):
        if known == name:
            hosts[_RESERVED % number] = target
            return _RESERVED % number
    return None
