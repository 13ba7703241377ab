"""A text as characters: a tokenizer of its alphabet, its two splits as token shards in a workspace.

The first nine tenths are learnt from, the rest is looked at, as nanoGPT cuts it.
"""

from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import decoders, models

from mainspring import artifact as artifacts
from mainspring.app import Workspace
from mainspring.data.document import Document, write_documents
from mainspring.data.shard import ShardSettings
from mainspring.data.shard_dataset import shard_dataset
from mainspring.tokenizer.base import Tokenizer

END = "<|endoftext|>"
PART_LEARNT = 0.9


def split(text: str) -> dict[str, str]:
    """The text by the name of its split."""
    place = int(PART_LEARNT * len(text))
    return {"train": text[:place], "validation": text[place:]}


def alphabet(text: str) -> dict[str, int]:
    """Every character's id, in the order of their code points."""
    return {character: number for number, character in enumerate(sorted(set(text)))}


def ids_of(text: str, known: dict[str, int]) -> np.ndarray:
    """Ids of a text, shape (T,), int64."""
    return np.array([known[character] for character in text], dtype=np.int64)


def character_tokenizer(known: dict[str, int]) -> Tokenizer:
    """BPE that joins nothing; the id behind the alphabet's ends a document."""
    backend = tokenizers.Tokenizer(models.BPE(vocab=known, merges=[]))
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens([END])
    return Tokenizer(backend, eos=END)


def publish(workspace: Workspace, text: str, name: str) -> None:
    """The artifacts tokenizer/NAME and dataset/NAME of a text; nothing where they are there."""
    registry, tokenizer = workspace.registry, character_tokenizer(alphabet(text))
    if registry.has(f"dataset/{name}"):
        return
    made = registry.add(artifacts.write(registry.root, "tokenizer", name, tokenizer.save))

    def fill(folder: Path) -> None:
        (folder / "documents").mkdir()
        for part, body in split(text).items():
            document = Document(id=f"{name}-{part}", text=body)
            write_documents(folder / "documents" / f"{part}-00000.jsonl", [document])

    documents = registry.add(artifacts.write(registry.root, "dataset", f"{name}-text", fill))
    shard_dataset(registry, documents, made, tokenizer, ShardSettings(), name=name)
