import openai
import pytest

from fakes_model import TOWER, House, ScriptedModel, Shelf, assistant, broken
from mainspring.serve.run import in_background


@pytest.fixture
def house(tmp_path):
    shelf = Shelf(
        [
            assistant(),
            ScriptedModel("plain"),
            ScriptedModel("slow", "word " * 200, step_s=0.02),
            broken(),
            broken("mute", after=0),
        ],
        [("guides/tower.md", "The tower", TOWER)],
    )
    house = House(tmp_path, shelf)
    yield house
    house.close()


@pytest.fixture
def url(house):
    with in_background(house.app) as url:
        yield url


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client
