import pytest

from fakes_chat import Saying
from fakes_datasets import add_dataset, chat, plain
from mainspring.config import build
from mainspring.data.augment.dataset import AugmentConfig, augment_dataset, make_augmenter
from mainspring.data.document import Document, read_documents
from mainspring.errors import ConfigError, NotFoundError


def augment(registry, documents, model=None, **values):
    config = build(AugmentConfig, values)
    dataset = add_dataset(registry, documents)
    made, counts = augment_dataset(registry, dataset, make_augmenter(config, model), config, name="more")
    files = sorted((registry.folder(made) / "documents").glob("*.jsonl"))
    return {file.stem.rpartition("-")[0]: list(read_documents(file)) for file in files}, counts, made


def test_new_documents_stand_behind_what_they_are_made_of_and_tell_it(registry):
    given = [
        Document(id="a#1", text="one two three", group="book"),
        Document(id="a#2", text="four five", meta={"k": 1}),
    ]
    found, counts, made = augment(registry, given, kind="mask", copies=2)
    ids = ["a#1", "a#1~mask-1", "a#1~mask-2", "a#2", "a#2~mask-1", "a#2~mask-2"]
    assert [each.id for each in found["train"]] == ids
    assert [each.group for each in found["train"]] == ["book", "book", "book", "", "a#2", "a#2"]
    assert found["train"][0] == given[0]
    assert found["train"][4].meta == {"k": 1, "augmented": "mask", "of": "a#2"}
    assert all("[MASK]" in each.text for each in found["train"] if "~" in each.id)
    assert counts == {"made": 4}
    assert made.parents == {"documents": "dataset/data@1"}
    assert set(made.config) == {"kind", "copies", "splits", "keep", "mask"}


def test_other_splits_stay_as_they_are(registry):
    held = plain(5)
    found, _, _ = augment(registry, {"train": plain(7), "test": held}, kind="mask")
    assert found["test"] == held
    assert len(found["train"]) == 14
    found, _, _ = augment(
        registry, {"train": plain(7), "test": held}, kind="mask", splits=["test"], keep=False
    )
    assert len(found["test"]) == 5
    assert all("of" in each.meta for each in found["test"])
    assert len(found["train"]) == 7


def test_a_conversation_is_swapped_as_a_whole_and_masked_where_the_user_speaks(registry):
    turns = [chat(1, "Who is he?", "He is my uncle.", "His name is John.")]
    found, _, _ = augment(registry, turns, kind="counterfactual")
    contents = [each["content"] for each in found["train"][1].meta["messages"]]
    assert contents == ["Who is she?", "She is my aunt.", "Who is she?", "Her name is John."]
    found, _, _ = augment(registry, turns, kind="mask", mask={"rate": 1, "mask": "_"})
    contents = [each["content"] for each in found["train"][1].meta["messages"]]
    assert contents == ["_ _ _?", "He is my uncle.", "_ _ _?", "His name is John."]
    assert found["train"][0] == turns[0]


def test_what_is_not_made_is_counted_by_its_reason(registry):
    given = [
        *plain(3),
        Document(id="h", text="He turns."),
        Document(id="m", text="", meta={"messages": "none"}),
    ]
    found, counts, _ = augment(registry, given[3:], kind="counterfactual")
    assert counts == {"made": 1, "no text": 1}
    assert [each.id for each in found["train"]] == ["h", "h~counterfactual-1", "m"]
    _, counts, _ = augment(registry, [Document(id="t", text="The lamp turns.")], kind="counterfactual")
    assert counts == {"no paired term": 1}


def test_paraphrases_come_from_the_model_for_more_documents_than_are_asked_at_once(registry):
    model = Saying(lambda content, sampling: "Well: " + content.rpartition("\n")[2])
    found, counts, _ = augment(registry, plain(150), model, kind="paraphrase")
    assert counts == {"made": 150}
    pairs = zip(found["train"][::2], found["train"][1::2], strict=True)
    assert all(new.text == "Well: " + old.text and new.meta["of"] == old.id for old, new in pairs)


def test_the_same_settings_make_the_same_files(registry):
    assert augment(registry, plain(80), copies=2)[2].files == augment(registry, plain(80), copies=2)[2].files


def test_what_cannot_be_augmented_says_why(registry):
    with pytest.raises(NotFoundError, match="no split 'dev'; it has train"):
        augment(registry, plain(3), splits=["dev"])
    with pytest.raises(ConfigError, match="`copies` is 1"):
        augment(registry, plain(3), kind="counterfactual", copies=2)
    with pytest.raises(ConfigError, match="needs a chat model"):
        augment(registry, plain(3), kind="paraphrase")
