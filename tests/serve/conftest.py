import openai
import pytest

from fakes_model import TOWER, House, ScriptedModel, Shelf, assistant, broken
from fakes_server import in_background
from fakes_text import SpokenModel
from mainspring.errors import MainspringError
from mainspring.schema import ToolCall


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


@pytest.fixture
def spoken(tmp_path):
    """A house of plain models that do all that can be asked."""
    calls = (
        ToolCall(id="call_1", name="look", arguments='{"at": "sky"}'),
        ToolCall(id="call_2", name="look", arguments='{"at": "sea"}'),
    )
    models = [
        SpokenModel("gpt", "The sky is blue."),
        SpokenModel("caller", "Let me look.", calls=calls),
        SpokenModel("slow", "word " * 200, step_s=0.02),
        SpokenModel("broken", "one two three", error=MainspringError("the model fell over"), error_after=1),
        ScriptedModel("plain"),
    ]
    house = House(tmp_path, Shelf(models), aliases={"gpt-4o": "gpt"})
    yield house
    house.close()


@pytest.fixture
def spoken_url(spoken):
    with in_background(spoken.app) as url:
        yield url


@pytest.fixture
def ai(spoken_url):
    with openai.OpenAI(base_url=f"{spoken_url}/v1", api_key="none", max_retries=0) as client:
        yield client
