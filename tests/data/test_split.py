import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes_datasets import add_dataset
from mainspring.config import build
from mainspring.data.document import Document, read_documents, write_documents
from mainspring.data.split import SplitConfig, assigner, split_dataset
from mainspring.errors import ConfigError, DocumentError

FRACTIONS = {"fractions": {"train": 0.8, "test": 0.2}}


def documents(count=300, groups=60):
    return [
        Document(
            id=f"d{number}", text=f"text {number}", group=f"g{number % groups}" if groups else "",
            time=f"2024-{number % 12 + 1:02d}-01", meta={"label": "yes" if number % 4 else "no"},
        )
        for number in range(count)
    ]  # fmt: skip


def read(registry, dataset):
    """{split: documents}."""
    files = sorted((registry.folder(dataset) / "documents").glob("*.jsonl"))
    return {file.stem.rpartition("-")[0]: list(read_documents(file)) for file in files}


def split(registry, given, **values):
    dataset = add_dataset(registry, given)
    made, counts = split_dataset(registry, dataset, build(SplitConfig, values), name="new")
    return read(registry, made), counts, made


def assert_no_group_is_torn(found):
    homes = {}
    for name, each in found.items():
        for document in each:
            homes.setdefault(document.group or document.id, set()).add(name)
    assert all(len(home) == 1 for home in homes.values())


@pytest.mark.parametrize("values", [FRACTIONS, {"folds": 5}, {"folds": 3, "stratify": "label"}])
def test_every_document_is_there_once_as_it_was_and_no_group_is_torn(registry, values):
    given = documents()
    found, counts, made = split(registry, {"train": given[:200], "test": given[200:]}, **values)
    assert sorted((each for split in found.values() for each in split), key=lambda d: d.id) == sorted(
        given, key=lambda d: d.id
    )
    assert_no_group_is_torn(found)
    assert {name: len(each) for name, each in found.items()} == {n: c.documents for n, c in counts.items()}
    assert {name: len({d.group for d in each}) for name, each in found.items()} == {
        n: c.groups for n, c in counts.items()
    }
    assert made.parents == {"documents": "dataset/data@1"}


def test_a_hash_keeps_every_document_in_its_place_when_others_come(registry):
    few, _, _ = split(registry, documents(2000, 0)[::2], **FRACTIONS)
    many, _, _ = split(registry, documents(2000, 0), **FRACTIONS)
    ids = {name: {d.id for d in each} for name, each in many.items()}
    assert all({d.id for d in each} <= ids[name] for name, each in few.items())
    assert len(ids["test"]) == pytest.approx(400, abs=4 * (2000 * 0.2 * 0.8) ** 0.5)
    other, _, _ = split(registry, documents(2000, 0), seed=1, **FRACTIONS)
    assert {d.id for d in other["test"]} != ids["test"]


def test_by_time_nothing_in_an_earlier_split_is_later_than_its_date_and_no_group_is_torn(registry):
    values = {"by": "time", "until": {"train": "2024-06-01", "validation": "2024-09-01"}, "undated": "old"}
    given = [*documents(100, 0), *documents(100, 7), Document(id="undated", text="x")]
    found, _, _ = split(registry, given, **values)
    assert_no_group_is_torn(found)
    assert all(document.time < "2024-06-01" for document in found["train"])
    assert all(document.time < "2024-09-01" for document in found["validation"])
    assert [document.id for document in found["old"]] == ["undated"]
    alone = [document for document in found["test"] if not document.group]
    assert alone
    assert all(document.time >= "2024-09-01" for document in alone)


def test_folds_are_balanced_in_size_and_label(registry):
    found, counts, _ = split(registry, documents(303, 0), folds=4, stratify="label")
    assert sorted(found) == ["fold-0", "fold-1", "fold-2", "fold-3"]
    for label in ("yes", "no"):
        per_fold = [each.labels[label] for each in counts.values()]
        assert max(per_fold) - min(per_fold) <= 1
    sizes = [each.documents for each in counts.values()]
    assert max(sizes) - min(sizes) <= 1


def test_one_split_alone_is_split_and_the_others_stay_as_they_are(registry):
    given = documents()
    values = {"fractions": {"train": 0.5, "validation": 0.5}, "only": "train"}
    found, counts, _ = split(registry, {"train": given[:200], "test": given[200:]}, **values)
    assert found["test"] == given[200:]
    assert len(found["train"]) + len(found["validation"]) == 200
    assert sorted(counts) == ["train", "validation"]


def test_the_same_settings_make_the_same_files(registry):
    made = [split(registry, documents(), folds=5, stratify="label")[2] for _ in range(2)]
    assert made[0].files == made[1].files


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["", "a", "b", "d1", "d2"]), st.sampled_from("xyz")),
        min_size=4,
        max_size=20,
    )
)
def test_whatever_the_groups_none_is_torn_by_folds(tmp_path, drawn):
    given = [
        Document(id=f"d{number}", text="t", group=group, meta={"label": label})
        for number, (group, label) in enumerate(drawn)
    ]
    write_documents(tmp_path / "x.jsonl", given)
    values = {"folds": 2, "stratify": "label"}
    if len({d.group or f"alone {d.id}" for d in given}) < 2:
        with pytest.raises(ConfigError, match="only 1 groups"):
            assigner([tmp_path / "x.jsonl"], build(SplitConfig, values))
        return
    assign = assigner([tmp_path / "x.jsonl"], build(SplitConfig, values))
    homes = {}
    for document in given:
        homes.setdefault(document.group or ("alone", document.id), set()).add(assign(document))
    assert all(len(home) == 1 for home in homes.values())
    assert Counter(map(len, homes.values())).keys() == {1}


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"folds": 1}, ConfigError, "give 2 or more"),
        ({"folds": 2, "by": "time", "until": {"train": "2024"}}, ConfigError, "not by time"),
        ({"stratify": "label"}, ConfigError, "set `folds`, too"),
        ({"folds": 61}, ConfigError, "only 60 groups"),
        ({"folds": 2, "stratify": "colour"}, DocumentError, "No document has 'colour'"),
        ({"only": "dev"}, ConfigError, "no split 'dev'; it has test, train"),
        ({"only": "train", "fractions": {"test": 1.0}}, ConfigError, "'test' is a split already"),
        ({"fractions": {"train": 0.5}}, ConfigError, "add up to 1"),
        ({"fold": 2}, ConfigError, "did you mean `folds`"),
    ],
)
def test_what_cannot_be_split_says_why(registry, values, error, says):
    with pytest.raises(error, match=says):
        split(registry, {"train": documents(), "test": documents(5)}, **values)


def test_a_broken_line_is_named(registry):
    dataset = add_dataset(registry, documents(3))
    file = registry.folder(dataset) / "documents" / "train-00000.jsonl"
    file.write_text(file.read_text() + json.dumps({"text": "no id"}) + "\n")
    with pytest.raises(DocumentError, match="line 4: not a document"):
        split_dataset(registry, dataset, build(SplitConfig, FRACTIONS), name="new")
