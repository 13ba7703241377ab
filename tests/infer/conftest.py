import pytest

from fakes_engine import make_model
from mainspring.infer.native.build import NoCompilerError, library


@pytest.fixture(scope="session")
def model():
    return make_model()


@pytest.fixture(scope="module", params=["torch_eager", "native"])
def backend(request):
    """The name of one that is in the exact mode."""
    if request.param == "native":
        try:
            library()
        except NoCompilerError as error:
            pytest.skip(str(error))
    return request.param
