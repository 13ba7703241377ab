import pytest

from mainspring.errors import AuthenticationError, ConfigError
from mainspring.gateway.keys import VARIABLE, Keys, is_loopback


def test_without_a_key_everyone_on_loopback_is_the_local_tenant():
    keys = Keys.from_environment({})
    assert keys.is_open
    assert keys.authenticate(None).tenant == keys.authenticate("anything").tenant == "local"


def test_with_a_key_only_that_key_is_known():
    keys = Keys.from_environment({VARIABLE: "schlüssel"})
    assert keys.authenticate("schlüssel").tenant == "local"
    for wrong in (None, "", "schlussel", "schlüssel "):
        with pytest.raises(AuthenticationError):
            keys.authenticate(wrong)


def test_an_empty_key_is_a_mistake_and_not_an_open_door():
    with pytest.raises(ConfigError, match="is empty"):
        Keys.from_environment({VARIABLE: " "})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_beyond_loopback_a_key_is_needed(host):
    with pytest.raises(ConfigError, match=VARIABLE):
        Keys().check_host(host)
    Keys("k").check_host(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_key(host):
    assert is_loopback(host)
    Keys().check_host(host)
