import pytest

from fakes_engine import make_model


@pytest.fixture(scope="session")
def model():
    return make_model()
