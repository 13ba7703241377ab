"""Datasets of a registry, whole and with faults, from a few documents or ids."""

from fakes_bpe import make_tokenizer
from mainspring import artifact as artifacts
from mainspring.config import build
from mainspring.data.document import Document, write_documents
from mainspring.data.shard import ShardSettings
from mainspring.data.shard_dataset import shard_dataset
from mainspring.data.shard_writer import ShardWriter

SUBJECTS = "The owner,Her brother,A watchmaker,The old sailor,Nobody,Every visitor,The keeper".split(",")  # noqa: SIM905
DOINGS = "winds,repairs,admires,sells,paints,forgets,measures,describes".split(",")  # noqa: SIM905
THINGS = "the spring,a wheel,the café clock,that lamp,the harbour bell,a naïve drawing".split(",")  # noqa: SIM905


def sentence(number):
    """One of 336 sentences; after that they are numbered."""
    subject, rest = SUBJECTS[number % 7], number // 7
    text = f"{subject} {DOINGS[rest % 8]} {THINGS[rest // 8 % 6]}"
    return f"{text}." if number < 336 else f"{text}, for the {number}th time."


def plain(count=60):
    return [
        Document(id=f"t#{number}", text=f"{sentence(number)} {sentence(number + 90)}")
        for number in range(count)
    ]


def chats(count=40):
    return [chat(number, sentence(number), sentence(number + 41)) for number in range(count)]


def chat(number, question, *answers, **meta):
    turns = []
    for answer in answers:
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Document(id=f"c#{number}", text="", meta={"messages": turns, **meta})


def add_dataset(registry, documents, name="data", **config):
    """A dataset of documents; a list is the split train."""
    splits = documents if isinstance(documents, dict) else {"train": documents}

    def fill(folder):
        (folder / "documents").mkdir()
        for split, each in splits.items():
            write_documents(folder / "documents" / f"{split}-00000.jsonl", each)

    return registry.add(artifacts.write(registry.root, "dataset", name, fill, config=config))


def add_tokenizer(registry, name="small", tokenizer=None):
    tokenizer = tokenizer or make_tokenizer()
    return registry.add(artifacts.write(registry.root, "tokenizer", name, tokenizer.save))


def encode_dataset(registry, documents, **settings):
    """The documents of a list as a dataset of shards."""
    source, tokenizer = add_tokenizer(registry), make_tokenizer()
    config = build(ShardSettings, settings)
    return shard_dataset(registry, add_dataset(registry, documents), source, tokenizer, config, name="ids")[0]


def add_shards(registry, segments, *, parent="tokenizer/small@1", split="train", **more):
    """Segments of (ids, weight) as they are told, made by whatever made them."""
    tokenizer = make_tokenizer()
    if not registry.has("tokenizer/small"):
        add_tokenizer(registry)
    settings = {
        "tokenizer": tokenizer.fingerprint,
        "vocab_size": tokenizer.vocab_size,
        "id_type": "uint16",
    } | more

    def fill(folder):
        with ShardWriter(folder / "shards", split, **settings) as writer:
            for number, (ids, weight) in enumerate(segments):
                writer.add(ids, weight, f"doc-{number}")

    parents = {"tokenizer": parent} if parent else {}
    return registry.add(artifacts.write(registry.root, "dataset", "ids", fill, parents=parents))
