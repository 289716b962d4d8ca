"""Decide which addresses are public, so that no URL of a list leads into a private network.

The ranges are listed here because the table of `ipaddress` depends on the Python version: for Python 3.11, 5f00::/16 and
192.0.0.192 are public. An address must pass both checks.

Sources: the IANA registries of special-purpose addresses,
https://www.iana.org/assignments/iana-ipv4-special-registry and
https://www.iana.org/assignments/iana-ipv6-special-registry (entries that are not globally reachable, and 192.88.99.0/24,
which RFC 7526 has withdrawn); the IANA registry of the IPv6 address space, in which only 2000::/3 is global unicast,
https://www.iana.org/assignments/ipv6-address-space. Platform addresses: the providers' pages named beside them.
"""

import ipaddress
import socket

_REFUSED_V4 = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        # Public addresses at which clouds serve metadata and credentials to their own machines.
        "168.63.129.16/32",  # Azure: learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
        "161.26.0.0/16", "166.8.0.0/14",  # IBM Cloud: cloud.ibm.com/docs/vpc?topic=vpc-service-endpoints-for-vpc
        "199.36.153.4/30", "199.36.153.8/30",  # Google: cloud.google.com/vpc/docs/configure-private-google-access
        "192.80.8.124/32",  # Equinix Metal: metadata.platformequinix.com
    )
]  # fmt: skip
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6 = [
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID, anycast of protocols; no web servers
        "2001:db8::/32",
        "2002::/16",  # 6to4, which leads to any IPv4 address
        "3fff::/20",
    )
]
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # used by IPv6-only networks to reach public IPv4 hosts


class PrivateAddress(OSError):
    """A host name resolves to an address that is not public."""


def is_public(address: str) -> bool:
    """Whether a numeric address is public; an IPv6 address that embeds an IPv4 address counts as the latter."""
    number = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(number, ipaddress.IPv6Address):
        if not (number.ipv4_mapped or number in _NAT64):
            refused = number not in _GLOBAL_V6 or any(number in network for network in _REFUSED_V6)
            return not refused and number.is_global
        number = ipaddress.IPv4Address(int(number) & 0xFFFFFFFF)
    return number.is_global and not any(number in network for network in _REFUSED_V4)


def check_public(address: str) -> None:
    """Raise PrivateAddress unless a numeric address is public."""
    if not is_public(address):
        raise PrivateAddress(f"{address} is not a public address")


def public_socket(info: tuple) -> socket.socket:
    """Create a socket for an address in the form of getaddrinfo. Raises PrivateAddress unless it is public."""
    family, socket_type, protocol, _, address = info
    check_public(str(address[0]))
    return socket.socket(family, socket_type, protocol)
