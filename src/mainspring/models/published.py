"""The published layout: config.json, safetensors and tokenizer files that other libraries read as well."""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mainspring import chat
from mainspring.errors import WeightsError
from mainspring.models.config import ModelConfig, Pooling
from mainspring.models.load import POOLING_FILE, POOLING_MODES, load, read_config, read_json
from mainspring.models.weights import safetensors
from mainspring.models.weights.base import PICKLES, pickled
from mainspring.models.weights.gguf.file import GgufFile
from mainspring.models.weights.gguf.weights import GgufWeights
from mainspring.schema import Message
from mainspring.tokenizer.base import Tokenizer
from mainspring.tokenizer.gguf.read import from_gguf

KEPT = (
    "config.json", "*.safetensors", "*.safetensors.index.json", "generation_config.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "chat_template.jinja", "modules.json",
    "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json", "LICENSE*",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A model that was found and understood, and how its files are written."""

    config: ModelConfig
    num_bytes: int
    license: str
    write: Callable[[Path], None]


def find(path: Path) -> Published:
    """Read what a .gguf file or a folder in the published layout holds, without its tensors."""
    if path.is_dir():
        return _from_folder(path)
    if path.suffix == ".gguf":
        return _from_gguf(path)
    if path.suffix in PICKLES:
        raise pickled([path])
    raise WeightsError(
        f"{path} is neither a .gguf file, a wheel nor a folder with config.json; models come as one of these."
    )


def publish(found: Published, folder: Path) -> None:
    """Write the files into `folder` and prove that they load and that the chat template works."""
    found.write(folder)
    load(folder)
    tokenizer = Tokenizer.load(folder)
    if tokenizer.chat_template:
        chat.render([Message(role="user", content="Hello")], tokenizer, open_reply=True)


def _from_folder(source: Path) -> Published:
    weights = safetensors.SafetensorsFolder(source)
    return Published(
        config=read_config(source),
        num_bytes=4 * sum(math.prod(shape) for shape in weights.shapes.values()),
        license=str(read_json(source / "config.json").get("license", "")),
        write=lambda folder: _copy(source, folder),
    )


def _copy(source: Path, folder: Path) -> None:
    for pattern in KEPT:
        _copy_matching(source, folder, pattern)


def _copy_matching(source: Path, folder: Path, pattern: str) -> None:
    for path in source.glob(pattern):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def task_of(folder: Path, facts: Mapping[str, Any]) -> str:
    """What a model's artifact can be served for, see ModelConfig.task; nothing where its files do not say.

    One score of a text is a reward's as well: `facts` of its training tell, and published rerankers are encoders.
    """
    try:
        config = read_config(folder)
    except WeightsError:
        return ""
    learnt = facts.get("objective", {}).get("kind", "" if config.is_causal else "rerank")
    return "" if config.task == "rerank" and learnt != "rerank" else config.task


def copy_beside(source: Path, folder: Path, pooling: Pooling | None = None) -> None:
    """The files of the tokenizer and of pooling, which a conversion leaves as they are but for another `pooling`."""
    for pattern in KEPT:
        if pattern != "config.json" and "safetensors" not in pattern:
            _copy_matching(source, folder, pattern)
    path = folder / POOLING_FILE
    if pooling is not None and path.exists():
        said = read_json(path) | {key: mode == pooling for mode, key in POOLING_MODES.items()}
        path.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _from_gguf(path: Path) -> Published:
    file = GgufFile(path)
    weights = GgufWeights(file)
    return Published(
        config=weights.config,
        num_bytes=4 * sum(math.prod(shape) for shape in weights.shapes.values()),
        license=str(file.fields.get("general.license", "")),
        write=lambda folder: _convert(file, weights, folder),
    )


def _convert(file: GgufFile, weights: GgufWeights, folder: Path) -> None:
    from_gguf(file.fields).save(folder)
    safetensors.write(folder / safetensors.SINGLE, weights.shapes, weights.read)
    (folder / "config.json").write_text(json.dumps(weights.published, indent=2) + "\n", encoding="utf-8")
