"""Whole builds, held against a plain one that has everything in memory."""

import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes_bench import Bench, recipe_of
from fakes_build import lines, plain_build, write_rows
from mainspring.errors import ConfigError, DocumentError, MainspringError, UserError

pytestmark = pytest.mark.slow

WORDS = st.sampled_from(["ant", "Ant", "bee", "cow!", "é", "e\u0301", "ﬁ", "!", "", "日本", "  "])
TEXTS = st.lists(st.lists(WORDS, max_size=6).map(" ".join), min_size=1, max_size=25)
FRACTIONS = {"train": 0.6, "validation": 0.3, "test": 0.1}


@given(texts=TEXTS, min_words=st.integers(0, 3), part_bytes=st.integers(40, 400))
@settings(max_examples=12, deadline=None)
def test_a_build_leaves_what_a_plain_loop_leaves(texts, min_words, part_bytes):
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(Path(place))
        path = write_rows(bench.root / "rows.jsonl", texts)
        wanted = plain_build(texts, "rows.jsonl", min_words, FRACTIONS)
        recipe = recipe_of(path, part_bytes, min_words=min_words, split={"fractions": FRACTIONS})
        if not wanted["kept"]:
            with pytest.raises((DocumentError, UserError)):
                bench.build(recipe)
            return
        built = bench.build(recipe)
        kept = {split: found for split in FRACTIONS if (found := bench.documents(built, split))}
        assert kept == wanted["kept"]
        assert bench.dropped(built) == wanted["dropped"]
        _check_counts(built.report, texts, wanted)


def _check_counts(report, texts, wanted):
    """Everything that came in is kept or dropped, and no step sees more than the one before it left."""
    assert report.documents == sum(map(len, wanted["kept"].values()))
    came = sum(source.documents + source.unreadable for source in report.sources.values())
    assert came == len(texts) == report.documents + len(wanted["dropped"])
    for before, after in itertools.pairwise(report.steps.values()):
        gone = sum(change.documents for change in before.dropped.values())
        changes = [*before.dropped.values(), *before.changed.values()]
        assert after.documents == before.documents - gone
        assert after.bytes == before.bytes - sum(each.bytes_before - each.bytes_after for each in changes)


def letters(number):
    return chr(97 + number // 26) + chr(97 + number % 26)


TEXTS_OF_TWO = [
    " ".join(f"{letters(number % 60)}{letters(place)}" for place in range(20))
    + ("!" if number < 60 or number % 3 else " again")
    for number in range(120)
]
"""Every text twice; every third one is only nearly the same."""


@pytest.mark.parametrize("options", [{"workers": 2}, {"part_bytes": 400}, {"workers": 2, "part_bytes": 999}])
def test_workers_and_parts_change_no_byte(bench, options):
    path = write_rows(bench.root / "rows.jsonl", TEXTS_OF_TWO)
    dedup = {
        "exact": True,
        "near": {"ngram": 2},
        "spans": {"unit": "line", "min_words": 2, "min_characters": 5},
    }
    first = bench.build(recipe_of(path, 10_000, dedup=dedup))
    again = Bench(bench.root / "again")
    executor = {"workers": options.get("workers", 1)}
    other = again.build(recipe_of(path, options.get("part_bytes", 2000), dedup=dedup, executor=executor))
    assert again.tree(other) == bench.tree(first)
    assert 0 < first.report.documents < len(TEXTS_OF_TWO)
    assert first.report.steps["near"].dropped["duplicate"].documents > 0


def test_the_same_build_again_is_the_same_version(bench):
    path = write_rows(bench.root / "rows.jsonl", TEXTS_OF_TWO)
    first, again = bench.build(recipe_of(path)), bench.build(recipe_of(path, executor={"workers": 2}))
    assert (first.is_new, again.is_new) == (True, False)
    assert again.dataset == first.dataset
    assert bench.registry.list("dataset") == ["dataset/rows@1"]
    other = bench.build(recipe_of(path, min_words=4))
    assert other.dataset.reference == "dataset/rows@2"


def test_the_manifest_says_what_decided(bench):
    path = write_rows(bench.root / "rows.jsonl", TEXTS_OF_TWO)
    config = bench.build(recipe_of(path)).dataset.config
    assert config["recipe"]["rules"] == [
        {"rule": "quiet", "edition": 1}, {"rule": "short", "edition": 1, "min_words": 3},
    ]  # fmt: skip
    assert config["recipe"]["dedup"]["exact"]["fold_case"] is True
    assert len(config["sources"]["rows.jsonl"]) == 64
    assert "executor" not in config["recipe"]


def test_documents_lie_in_files_of_bounded_size(bench):
    path = write_rows(bench.root / "rows.jsonl", [f"a text with number {chr(97 + i)}" for i in range(26)])
    built = bench.build(recipe_of(path, max_file_mb=0.0005))
    files = sorted((bench.folder(built) / "documents").iterdir())
    longest = max(len(line) for file in files for line in file.read_bytes().splitlines(keepends=True))
    assert [file.name for file in files] == [f"train-{number:05d}.jsonl" for number in range(len(files))]
    assert len(files) > 3
    assert all(500 <= file.stat().st_size < 500 + longest for file in files[:-1])
    assert len(bench.documents(built, "train")) == 26


def test_near_duplicates_name_the_one_that_stays_and_how_alike_they_are(bench):
    text = " ".join("word" + letters(i) for i in range(300))
    other = " ".join("else" + letters(i) for i in range(300))
    path = write_rows(bench.root / "rows.jsonl", [other, text, text.replace("b ", "b and "), text.upper()])
    built = bench.build(recipe_of(path, dedup={"near": True}))
    found = lines(bench.folder(built) / "dropped.jsonl")
    assert [(each["id"], each["rule"], each["of"]) for each in found] == [
        ("rows.jsonl#3", "near", "rows.jsonl#2"), ("rows.jsonl#4", "exact", "rows.jsonl#2"),
    ]  # fmt: skip
    assert 0.5 < found[0]["numbers"]["similarity"] < 1
    assert built.report.clusters["near"].largest == {"rows.jsonl#2": 3}
    assert built.report.clusters["exact"].sizes == {"2": 1}


def test_repeated_passages_are_cut_from_documents_that_stay_and_counted_in_no_others(bench):
    passage = "This passage of twelve words stands in some of the documents here."
    texts = [f"First of all.\n\n{passage}", "Alone here, and nothing else.", f"Something else.\n\n{passage}"]
    path = write_rows(bench.root / "rows.jsonl", [*texts, texts[1]])
    built = bench.build(recipe_of(path, 60, dedup={"near": False, "spans": True}))
    assert dict(bench.documents(built, "train"))["rows.jsonl#3"] == "Something else."
    assert built.report.passages.repeated == 1
    assert built.report.passages.most == {"rows.jsonl#1": 1}
    changed = lines(bench.folder(built) / "changed.jsonl")
    assert [(each["id"], each["rule"], each["reason"]) for each in changed] == [
        ("rows.jsonl#3", "spans", "repeated_spans")
    ]


def test_text_of_evaluation_sets_is_kept_out(bench, tmp_path):
    asked = "What is the name of the tallest tower that was ever built by the people of the old town?"
    (tmp_path / "gold.jsonl").write_text(f'{{"question": "{asked}", "answer": "none"}}\n')
    path = write_rows(
        bench.root / "rows.jsonl", ["A text without a question.", f"They asked: {asked} Nobody knew."]
    )
    built = bench.build(recipe_of(path, evaluation_files=[str(tmp_path / "gold.jsonl")]))
    assert bench.dropped(built) == [("rows.jsonl#2", "contaminate", "evaluation_text", "")]
    assert built.dataset.config["evaluation"]["sets"] == {"gold.jsonl": 3}
    without = bench.build(recipe_of(path, decontaminate=False))
    assert without.report.documents == 2


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"rules": ["shrt"]}, "no rule 'shrt'"),
        ({"rules": [{"short": {"min_word": 2}}]}, "did you mean `min_words`"),
        ({"rules": [{"short": {"min_words": "many"}}]}, "In the rule short"),
        ({"rules": [{"short": {}, "quiet": {}}]}, "one name with its settings"),
        ({"dedup": {"near": {"ngrams": 3}}}, "did you mean `ngram`"),
        ({"dedup": {"nears": True}}, "did you mean `dedup.near`"),
        ({"decontaminate": {"ngrm": 3}}, "did you mean `ngram`"),
        ({"split": {"fractions": {"train": 0.5}}}, "add up to 1"),
        ({"sources": []}, "at least 1 item"),
        ({"sources": [{"kind": "fack"}]}, "kind of source"),
        ({"sources": [{"kind": "fake", "path": "/nowhere/at/all.jsonl"}]}, "/nowhere/at/all.jsonl"),
        ({"name": "a/b"}, "String should match pattern"),
        ({"sample": 3}, "did you mean `samples`"),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_be_followed_is_told_before_anything_is_read(bench, changes, wanted):
    path = write_rows(bench.root / "rows.jsonl", TEXTS_OF_TWO)
    with pytest.raises(UserError) as caught:
        bench.build({**recipe_of(path), **changes})
    assert wanted in str(caught.value)
    assert bench.runs.list() == []


def test_two_sources_of_one_name_are_refused(bench):
    path = write_rows(bench.root / "rows.jsonl", TEXTS_OF_TWO)
    recipe = recipe_of(path)
    with pytest.raises(UserError, match=r"Two sources are named 'rows\.jsonl'"):
        bench.build({**recipe, "sources": recipe["sources"] * 2})
    named = [recipe["sources"][0], {**recipe["sources"][0], "name": "again"}]
    built = bench.build({**recipe, "sources": named})
    assert built.report.sources["again"].documents == len(TEXTS_OF_TWO)
    assert all(name.startswith("rows.jsonl#") for name, _ in bench.documents(built, "train"))


def test_a_rule_that_fails_is_named_with_the_document(bench):
    path = write_rows(bench.root / "rows.jsonl", TEXTS_OF_TWO)
    with pytest.raises(
        MainspringError, match=r"rule broken failed at the document rows\.jsonl#1: ZeroDivision"
    ):
        bench.build({**recipe_of(path), "rules": ["broken"]})
    assert [run.status for run in bench.runs.list("data")] == ["failed"]


def test_a_worker_that_is_killed_is_told_with_its_part(bench):
    path = write_rows(bench.root / "rows.jsonl", [*TEXTS_OF_TWO[:50], "a deadly text", *TEXTS_OF_TWO])
    recipe = {**recipe_of(path), "executor": {"workers": 2}}
    with pytest.raises(
        MainspringError, match=r"rows\.jsonl \([\d,]+ to [\d,]+\) was killed by SIGKILL.*memory"
    ):
        bench.build({**recipe, "rules": ["deadly"]})


def test_where_nothing_is_left_the_steps_that_dropped_are_named(bench):
    path = write_rows(bench.root / "rows.jsonl", TEXTS_OF_TWO)
    with pytest.raises(
        DocumentError, match=r"No document is left of the 120.*short dropped 120 \(too_short\)"
    ):
        bench.build(recipe_of(path, min_words=99))
    assert bench.registry.list("dataset") == []


def test_settings_of_a_kind_of_sameness_are_named_by_their_place(bench):
    path = write_rows(bench.root / "rows.jsonl", TEXTS_OF_TWO)
    with pytest.raises(ConfigError, match=r"In dedup\.exact: .*fold_case"):
        bench.build(recipe_of(path, dedup={"exact": {"fold_cas": False}}))
