"""The address of a database. Secrets in it come from the environment, and no error repeats them."""

import os
import re
from typing import TYPE_CHECKING

from mainspring.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from sqlalchemy import URL

VARIABLE = re.compile(r"\$\{(\w+)\}")
FORMS = "`sqlite:///FILE` and `postgresql://USER:${PASSWORD}@HOST/NAME`"
DRIVERS = {
    "sqlite": "sqlite", "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg", "postgresql+psycopg": "postgresql+psycopg",
}  # fmt: skip


def check_address(text: str) -> None:
    """Raise ConfigError for an address that is not read, or that holds a password instead of its variable.

    Settings are kept with the dataset that they made, so a password in them would be, too.
    """
    if VARIABLE.fullmatch(text):
        return
    url = _parsed(text)
    secrets = [
        url.password or "",
        *(str(value) for key, value in url.query.items() if "password" in key.lower()),
    ]
    if any(secret and not VARIABLE.fullmatch(secret) for secret in secrets):
        raise ConfigError(
            "The `url` of a source holds a password, which would be kept with the dataset. Put it into an environment "
            "variable and write its name: postgresql://USER:${DB_PASSWORD}@HOST/NAME, or all of it as ${DB_URL}."
        )


def address(text: str) -> "URL":
    """The address with its variables filled in.

    Raises:
        ConfigError: a variable that is not set, or a kind of database that is not read.

    """
    if VARIABLE.fullmatch(text):
        return _parsed(_filled(text))
    url = _parsed(text)
    return url.set(
        username=_filled(url.username), password=_filled(url.password), host=_filled(url.host),
        database=_filled(url.database),
        query={key: _filled(str(value)) or "" for key, value in url.query.items()},
    )  # fmt: skip


def _parsed(text: str) -> "URL":
    try:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError as error:
        raise MissingExtraError("sqlalchemy", "data", "Reading a database") from error
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # what they say may hold the password
        raise ConfigError(f"The `url` of a source is no address of a database; {FORMS} are read.") from None
    if url.drivername not in DRIVERS:
        raise ConfigError(f"Databases of the kind '{url.drivername}' are not read; {FORMS} are.")
    return url.set(drivername=DRIVERS[url.drivername])


def _filled(text: str | None) -> str:
    return VARIABLE.sub(_value, text or "")


def _value(found: re.Match[str]) -> str:
    try:
        return os.environ[found[1]]
    except KeyError:
        raise ConfigError(
            f"The environment variable {found[1]}, which the `url` of a source names, is not set. Set it."
        ) from None
