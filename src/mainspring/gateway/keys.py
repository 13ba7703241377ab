"""Who asks: API keys, compared in constant time, become a scope."""

import hmac
import ipaddress
import os
from collections.abc import Mapping

from mainspring.errors import AuthenticationError, ConfigError
from mainspring.knowledge.scope import Scope

VARIABLE = "MAINSPRING_API_KEY"


class Keys:
    """The one key of this server, or none: then whoever reaches the loopback address is let in."""

    def __init__(self, key: str | None = None) -> None:
        if key is not None and not key.strip():
            raise ConfigError(f"{VARIABLE} is empty; set it to a key, or unset it to serve without one.")
        self._key = key

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Keys":
        return cls(environment.get(VARIABLE))

    @property
    def is_open(self) -> bool:
        return self._key is None

    def authenticate(self, key: str | None) -> Scope:
        """The scope of who holds `key`.

        Raises:
            AuthenticationError: no key, or another than the configured one.

        """
        if self._key is None:
            return Scope()
        if key is None:
            raise AuthenticationError(
                "No API key was given; this server wants one. Send it as `Authorization: Bearer KEY`."
            )
        if not hmac.compare_digest(key.encode(), self._key.encode()):
            raise AuthenticationError(
                f"The API key that was given is not this server's; use the one in its {VARIABLE}."
            )
        return Scope()

    def header(self) -> dict[str, str]:
        """What the server sends when it is its own client."""
        return {} if self._key is None else {"authorization": f"Bearer {self._key}"}

    def check_host(self, host: str) -> None:
        """Raise ConfigError where strangers could reach a server that has no key."""
        if self.is_open and not is_loopback(host):
            raise ConfigError(
                f"The host '{host}' can be reached from other machines, and no API key is set. "
                f"Set {VARIABLE} to a key, or serve on 127.0.0.1."
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`, a name or an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
