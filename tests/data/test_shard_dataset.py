import pytest

from fakes_bpe import CHATML, make_tokenizer
from mainspring import artifact as artifacts
from mainspring.config import build
from mainspring.data.document import Document, write_documents
from mainspring.data.shard import ShardSettings
from mainspring.data.shard_dataset import find_tokenizer, open_shards, shard_dataset, tokenizer_of
from mainspring.errors import ConfigError, DocumentError, NotFoundError


def add_documents(registry, splits, name="web"):
    def fill(folder):
        (folder / "documents").mkdir()
        for file, texts in splits.items():
            documents = [Document(id=f"{file}#{number}", text=text) for number, text in enumerate(texts)]
            write_documents(folder / "documents" / f"{file}.jsonl", documents)

    return registry.add(artifacts.write(registry.root, "dataset", name, fill, license="CC0"))


def add_tokenizer(registry, name, template=CHATML):
    return registry.add(artifacts.write(registry.root, "tokenizer", name, make_tokenizer(template).save))


def make(registry, documents, source, **values):
    return shard_dataset(
        registry, documents, source, make_tokenizer(), build(ShardSettings, values), name="web-tokens"
    )


def test_every_split_of_the_documents_becomes_shards_with_their_parents(registry):
    texts = {"train-00000": ["the owner"], "train-00001": ["winds it", "turns"], "test-00000": ["spring"]}
    documents, source = add_documents(registry, texts), add_tokenizer(registry, "small")
    made, reports = make(registry, documents, source)
    assert made.parents == {"documents": "dataset/web@1", "tokenizer": "tokenizer/small@1"}
    assert made.license == "CC0"
    assert [(report.split, report.segments) for report in reports] == [("test", 1), ("train", 3)]
    shards = open_shards(registry, made)
    names = [shards.segment(index).document for index in range(3)]
    assert names == ["train-00000#0", "train-00001#0", "train-00001#1"]
    assert tokenizer_of(registry, made, shards).fingerprint == make_tokenizer().fingerprint
    assert registry.get(made.reference, verify=True) == made


def test_the_same_documents_and_tokenizer_make_the_same_files(registry):
    documents, source = add_documents(registry, {"train-0": ["a", "b"]}), add_tokenizer(registry, "small")
    first, second = make(registry, documents, source)[0], make(registry, documents, source)[0]
    assert first.fingerprint == second.fingerprint


def test_a_split_without_documents_is_left_out_and_none_at_all_is_an_error(registry):
    source = add_tokenizer(registry, "small")
    made, _ = make(registry, add_documents(registry, {"train-0": ["a"], "test-0": []}), source)
    with pytest.raises(NotFoundError, match="no split 'test'"):
        open_shards(registry, made, "test")
    with pytest.raises(DocumentError, match="dataset/none@1 holds no documents"):
        make(registry, add_documents(registry, {}, "none"), source)


def test_a_tokenizer_is_found_by_its_bare_name_or_that_of_a_model(registry):
    add_tokenizer(registry, "both")
    for name in ("both", "alone"):
        registry.add(artifacts.write(registry.root, "model", name, make_tokenizer().save))
    found = [find_tokenizer(registry, name).reference for name in ("both", "alone", "model/both")]
    assert found == ["tokenizer/both@1", "model/alone@1", "model/both@1"]
    with pytest.raises(NotFoundError, match="no tokenizer or model 'x'; there is tokenizer/both@1"):
        find_tokenizer(registry, "x")


def test_a_dataset_that_holds_no_shards_says_how_to_make_them(registry):
    with pytest.raises(NotFoundError, match="mainspring data shard web --tokenizer NAME"):
        open_shards(registry, add_documents(registry, {"train-0": ["a"]}))


def test_ids_are_not_read_with_another_tokenizer(registry):
    documents = add_documents(registry, {"train-0": ["a"]})
    other = add_tokenizer(registry, "other", CHATML + " ")
    made, _ = make(registry, documents, other)  # its ids are those of make_tokenizer()
    with pytest.raises(ConfigError, match="tokenizer/other@1 has"):
        tokenizer_of(registry, made, open_shards(registry, made))
