import json

import pytest

from fakes_datasets import add_dataset
from fakes_verbs import caller
from fakes_workspace import add_models
from mainspring.app import Workspace
from mainspring.cli.data_augment import augment
from mainspring.data.document import Document
from mainspring.errors import ConfigError, NotFoundError


@pytest.fixture
def call(tmp_path):
    texts = ["He winds the spring.", "Her lamp turns.", "The tower stands."]
    documents = [Document(id=f"d{number}", text=text) for number, text in enumerate(texts)]
    with Workspace(tmp_path / "w") as workspace:
        add_models(workspace)
        add_dataset(workspace.registry, documents, "books")
    return caller(tmp_path / "w", augment=augment)


def test_counterfactuals_are_made_and_the_others_counted_by_reason(call):
    code, out = call("augment", "books", "--kind", "counterfactual")
    assert code == 0
    assert "dataset  dataset/books-counterfactual@1" in out
    assert "made     2" in out
    assert "not made: 1 documents, no paired term" in out
    assert "next  mainspring data doctor books-counterfactual" in out


def test_the_same_as_json(call):
    _, out = call("augment", "books", "-n", 3, "-o", "mask.action=delete", "--name", "mine", "--json")
    said = json.loads(out)
    assert (said["dataset"], said["documents"]) == ("dataset/mine@1", {"made": 9})


def test_a_model_of_the_workspace_paraphrases_and_what_it_makes_up_is_not_taken(call, tmp_path):
    _, out = call("augment", "books", "--kind", "paraphrase", "-o", "paraphrase.max_tokens=4", "--json")
    said = json.loads(out)
    assert sum(said["documents"].values()) == 3
    with Workspace(tmp_path / "w") as workspace:
        assert workspace.registry.get(said["dataset"]).parents["model"] == "model/smollm2@1"


def test_what_is_missing_is_told(call):
    with pytest.raises(NotFoundError, match="mainspring fetch large"):
        call("augment", "books", "--kind", "paraphrase", "--model", "large")
    with pytest.raises(ConfigError, match="kind"):
        call("augment", "books", "--kind", "magic")
