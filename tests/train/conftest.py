import pytest

from fakes_llama import tiny_llama
from fakes_tokenizer import ByteTokenizer, conversations
from fakes_workspace import add_models
from mainspring.app import Workspace
from mainspring.train.sources.chats import ChatSource

ANSWERS = ("red", "green is it", "blue", "a longer answer than the others", "no", "yes, and why not")


@pytest.fixture
def model():
    return tiny_llama()


@pytest.fixture
def source():
    return ChatSource(conversations(*ANSWERS), ByteTokenizer(), max_tokens=256)


@pytest.fixture
def workspace(tmp_path):
    """Two tiny models and nothing else."""
    with Workspace(tmp_path / "workspace") as workspace:
        add_models(workspace)
        yield workspace
