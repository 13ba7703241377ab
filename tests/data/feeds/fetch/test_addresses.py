import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.feeds.fetch.addresses import refused, resolved
from mainspring.errors import DocumentError

NOT_PUBLIC = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.0.1",
    "169.254.0.1", "169.254.169.254", "168.63.129.16", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192",
    "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1",
    "240.0.0.1", "255.255.255.255",
    "::", "::1", "::2", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::",
    "2002:a00:1::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fd12::1", "fe80::1", "fe80::1%eth0", "fec0::1",
    "ff02::1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.215.14", "172.32.0.1", "100.63.255.255",
    "2606:4700::1111", "2a00::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
]  # fmt: skip


def answering(*addresses):
    """A resolver that gives these addresses, as socket.getaddrinfo gives them."""

    def resolve(host, port, **_):
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in addresses
        ]

    return resolve


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused_as_a_literal_and_as_what_a_name_resolves_to(address):
    assert refused(address)
    with pytest.raises(DocumentError, match="it is not fetched from"):
        resolved("innocent.example", 80, allow_private=False, resolve=answering(address))
    with pytest.raises(DocumentError, match="it is not fetched from"):
        resolved("innocent.example", 80, allow_private=False, resolve=answering("8.8.8.8", address))
    assert resolved("innocent.example", 80, allow_private=True, resolve=answering(address)) == [address]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_let_through(address):
    assert refused(address) == ""
    assert resolved("a.example", 80, allow_private=False, resolve=answering(address, address)) == [address]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "localhost", "::1"]
)
def test_every_way_to_write_this_machine_is_refused_by_what_it_resolves_to(host):
    with pytest.raises(DocumentError, match="this machine"):
        resolved(host, 80, allow_private=False)


@given(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address))
def test_what_python_calls_not_global_is_never_let_through(address):
    if not address.is_global or address.is_multicast:
        assert refused(str(address))


@given(st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address))
def test_of_ipv6_only_what_is_given_to_hosts_is_let_through(address):
    if not refused(str(address)):
        assert address in ipaddress.ip_network("2000::/3")


@pytest.mark.parametrize("text", ["", "host", "1.2.3", "1.2.3.4.5"])
def test_what_is_no_address_is_refused(text):
    assert refused(text) == "no address"


def test_a_name_that_is_not_known_is_told():
    with pytest.raises(DocumentError, match=r"nowhere\.invalid is not known"):
        resolved("nowhere.invalid", 80, allow_private=False)
    with pytest.raises(DocumentError, match="no address"):
        resolved("empty.example", 80, allow_private=False, resolve=answering())
