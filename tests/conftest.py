"""What many tests share: a tiny tokenizer, an empty registry, and the real models, fetched once."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from fakes_bpe import make_tokenizer
from mainspring import registry as registries
from mainspring.database import Database
from mainspring.models.fetch import fetch
from mainspring.registry import Registry
from mainspring.tokenizer.base import Tokenizer

settings.register_profile("quick", max_examples=15, deadline=None)
settings.register_profile("whole", deadline=None, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("MAINSPRING_EXAMPLES", "whole"))


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Tokenizer:
    return make_tokenizer()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(Database(tmp_path / "registry.sqlite", [registries.MIGRATION]), tmp_path / "artifacts")


@pytest.fixture(scope="session")
def model_registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The artifacts of a workspace that outlives the run, so that the real models are fetched once."""
    named = os.environ.get("MAINSPRING_TEST_WORKSPACE")
    workspace = Path(named) if named else Path(__file__).parents[1] / ".setup-models"
    database = Database(tmp_path_factory.mktemp("registry") / "models.sqlite", [registries.MIGRATION])
    return Registry(database, workspace / "artifacts")


@pytest.fixture(scope="session")
def smollm2_folder(model_registry: Registry) -> Path:
    return model_registry.folder(fetch(model_registry, "smollm2"))


@pytest.fixture(scope="session")
def minilm_folder(model_registry: Registry) -> Path:
    return model_registry.folder(fetch(model_registry, "minilm"))
