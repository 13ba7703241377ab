"""Which addresses may be connected to: those of the public Internet, unless others are allowed.

A host's name is resolved once, every address that it has is checked, and the connection is made to one of
these very addresses: a name that resolves otherwise a moment later changes nothing.
"""

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from mainspring.errors import DocumentError

Resolve = Callable[..., Sequence[tuple[Any, ...]]]
# RFC 6890 and the registries of special-purpose addresses; what ipaddress knows of them changes with Python.
REFUSED = {
    ip_network(network): reason
    for reason, networks in {
        "this machine": ("0.0.0.0/8", "127.0.0.0/8"),
        "link-local, where clouds keep their metadata": ("169.254.0.0/16",),
        "a cloud's metadata service": ("168.63.129.16/32", "192.0.0.0/24"),
        "private": ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"),
        "reserved": (
            "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
            "2001::/23", "2001:db8::/32", "3fff::/20",
        ),
        "multicast": ("224.0.0.0/4",),
    }.items()
    for network in networks
}  # fmt: skip
PUBLIC_V6 = ip_network("2000::/3")  # all of IPv6 that is given to hosts; what is not within it is refused
TRANSLATED = {ip_network("64:ff9b::/96"): 0, ip_network("2002::/16"): 80, ip_network("::ffff:0:0/96"): 0}
"""NAT64, 6to4 and mapped addresses: they lead to one of IPv4, with so many bits behind it."""


def resolved(
    host: str, port: int, *, allow_private: bool, resolve: Resolve = socket.getaddrinfo
) -> list[str]:
    """The addresses of a host, all of them checked.

    Raises:
        DocumentError: the name is not known, or has an address that must not be connected to.

    """
    try:
        found = resolve(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DocumentError(f"the host {host} is not known ({error})") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        reason = "" if allow_private else refused(address)
        if reason:
            raise DocumentError(
                f"the host {host} has the address {address}, which is {reason}; it is not fetched from"
            )
    if not addresses:
        raise DocumentError(f"the host {host} has no address")
    return addresses


def refused(text: str) -> str:
    """Why an address must not be connected to by default, in a word; "" where it may be."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return "no address"
    if isinstance(address, IPv6Address):
        for network, behind in TRANSLATED.items():
            if address in network:
                return refused(str(IPv4Address((int(address) >> behind) & 0xFFFFFFFF)))
        if address not in PUBLIC_V6:
            return "this machine" if address.is_loopback else "private or reserved"
    return next((reason for network, reason in REFUSED.items() if address in network), "")
