"""By which address a client counts against the limits."""

import re
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web

MOST_PROXIES = 16  # addresses of X-Forwarded-For that are looked at
LONGEST_ADDRESS = 64  # characters of each


class Clients:
    """Knows the proxies that may say for whom they ask."""

    def __init__(self, trusted_proxies: Iterable[str]) -> None:
        self._trusts_unix = False
        self._trusted: list[IPv4Network | IPv6Network] = []
        for proxy in trusted_proxies:
            if proxy == "unix":
                self._trusts_unix = True
            else:
                self._trusted.append(ip_network(canonical(proxy), strict=False))

    def network_of(self, peer: str, forwarded: str) -> str:
        """The network that limits count by, from the peer's address and its X-Forwarded-For.

        Empty where a trusted proxy does not say whom it speaks for.
        """
        return network(self._address(peer, forwarded))

    def network_of_request(self, request: web.Request) -> str:
        """The same for a request that aiohttp has read; by a Unix socket everybody is "unix"."""
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", []))
        return self.network_of(request.remote or "unix", forwarded)

    def _address(self, peer: str, forwarded: str) -> str:
        """The last address that is not a trusted proxy's."""
        if not self._trusts(peer):
            return peer
        hops = forwarded.rsplit(",", MOST_PROXIES)[-MOST_PROXIES:]
        for hop in reversed(hops):
            address = hop.strip()[:LONGEST_ADDRESS]
            if address and not self._trusts(address):
                return address
        return ""

    def _trusts(self, address: str) -> bool:
        if address == "unix":
            return self._trusts_unix
        with suppress(ValueError):
            ip = ip_address(canonical(address))
            return any(ip in trusted for trusted in self._trusted)
        return False


@lru_cache(4096)
def network(address: str) -> str:
    """The network of an address: one home or phone has a whole IPv6 /64."""
    with suppress(ValueError):
        return IPv6Address(canonical(address)).exploded[:19]
    return canonical(address)


@lru_cache(4096)
def canonical(address: str) -> str:
    """One spelling for each address, without a port, and IPv4 as IPv4 where IPv6 carries it."""
    bare = re.sub(r"^\[(.*)\](:\d+)?$|^([\d.]+):\d+$", r"\1\3", address)
    with suppress(ValueError):
        ip = ip_address(bare)
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ip)
    return address
