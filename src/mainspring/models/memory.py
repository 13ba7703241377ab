"""A language model with a memory: the nearest contexts of a datastore vote for the next token (kNN-LM).

Paper: arXiv:1911.00172, eq. 2 and 3. What is remembered of a context is the hidden state below the head; the
paper takes the input of the last feed-forward part, which not every family here has.

    texts -> model -> (hidden state, the token that followed), once
    p(next) = weight * softmax over the k nearest of -distance / temperature  +  (1 - weight) * the model's own

Shapes: T tokens of a text, D width, S remembered contexts, N rows asked for, k neighbours, V vocabulary.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from pydantic import Field
from safetensors import safe_open
from safetensors.torch import save_file

from mainspring.config import Config
from mainspring.errors import DocumentError, UserError, WeightsError
from mainspring.models.attend import PackedAttend
from mainspring.models.model import Model
from mainspring.tokenizer.base import Tokenizer

WEIGHTS, FACTS = "memory.safetensors", "memory.json"
ROWS_A_TIME = 65_536  # remembered contexts that distances are computed to at once


class MemorySettings(Config):
    """How much the memory counts."""

    weight: float = Field(default=0.25, ge=0, le=1, description="the memory's share of the probability")
    neighbours: int = Field(default=32, ge=1, description="nearest contexts that vote")
    temperature: float = Field(default=10.0, gt=0, description="higher lets farther ones count more")


class Memory:
    """Remembered contexts of one model; satisfies what `generate` and `Attempt` ask of a memory."""

    def __init__(self, keys_SD: torch.Tensor, next_S: torch.Tensor, settings: MemorySettings) -> None:
        self.keys_SD, self.next_S, self.settings = keys_SD, next_S, settings
        self._square_S = keys_SD.square().sum(1)

    def log_probabilities(self, hidden_ND: torch.Tensor, scores_NV: torch.Tensor) -> torch.Tensor:
        """Log p(next), (N, V): the model's own, mixed with what followed the nearest contexts."""
        own_NV = scores_NV.float().softmax(-1)
        distance_Nk, place_Nk = self.nearest(hidden_ND, self.settings.neighbours)
        vote_Nk = (-distance_Nk / self.settings.temperature).softmax(-1)
        remembered_NV = torch.zeros_like(own_NV).scatter_add_(1, self.next_S[place_Nk], vote_Nk)
        weight = self.settings.weight
        return (weight * remembered_NV + (1 - weight) * own_NV).log()

    def nearest(self, hidden_ND: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Squared distances, ascending, and places of the nearest contexts, (N, k) each."""
        best: list[tuple[torch.Tensor, torch.Tensor]] = []
        for start in range(0, len(self.keys_SD), ROWS_A_TIME):
            keys, square = (
                self.keys_SD[start : start + ROWS_A_TIME],
                self._square_S[start : start + ROWS_A_TIME],
            )
            far_NS = square - 2 * hidden_ND.float() @ keys.T + hidden_ND.float().square().sum(1, keepdim=True)
            near = far_NS.topk(min(count, len(keys)), largest=False)
            best.append((near.values, near.indices + start))
        far, place = (torch.cat(each, dim=1) for each in zip(*best, strict=True))
        order = far.argsort(1)[:, :count]
        return far.gather(1, order).clamp(min=0), place.gather(1, order)


@torch.inference_mode()
def remember(
    model: Model,
    tokenizer: Tokenizer,
    texts: Iterable[str],
    folder: Path,
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> int:
    """Write every context of the texts to a new folder, whole or not at all; returns how many there are.

    Raises:
        UserError: the folder is there already, or the model is no language model of one stack.
        DocumentError: no text has two tokens.

    """
    head = model.config.head
    if head is None or head.kind != "lm" or model.config.encoder is not None:
        raise UserError("Only a language model without an encoder can be given a memory. Take another one.")
    if folder.exists():
        raise UserError(f"{folder} exists already. Name a new folder, or remove it first.")
    keys: list[torch.Tensor] = []
    following: list[int] = []
    for text in texts:
        ids = [*tokenizer.opening_ids, *tokenizer.encode(text)]
        for start in range(0, len(ids) - 1, model.config.context):
            piece = ids[start : start + model.config.context + 1]
            seen = piece[:-1]
            hidden_TD = model(torch.tensor(seen), torch.arange(len(seen)), PackedAttend([len(seen)]))
            keys.append(hidden_TD.float())
            following += piece[1:]
        advance(1)
    if not following:
        raise DocumentError("No text has two tokens, so there is nothing to remember. Give longer texts.")
    _write(folder, torch.cat(keys), torch.tensor(following), tokenizer.fingerprint)
    return len(following)


def _write(folder: Path, keys_SD: torch.Tensor, next_S: torch.Tensor, tokenizer: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".remembering-") as scratch:
        target = Path(scratch) / "memory"
        target.mkdir()
        save_file({"keys": keys_SD, "next": next_S}, target / WEIGHTS)
        facts = {"width": keys_SD.shape[1], "contexts": len(next_S), "tokenizer": tokenizer}
        (target / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        shutil.move(target, folder)


def recall(folder: Path, model: Model, tokenizer: Tokenizer, settings: MemorySettings) -> Memory:
    """Read a memory for the model that made it.

    Raises:
        WeightsError: no memory there, or one of another width or tokenizer.

    """
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        with safe_open(folder / WEIGHTS, framework="pt") as stream:
            keys_SD, next_S = stream.get_tensor("keys"), stream.get_tensor("next")
    except Exception as error:  # safetensors has an error of its own, files have theirs
        raise WeightsError(
            f"{folder} is no memory that can be read ({error}). Make one: mainspring models remember."
        ) from error
    here = {"width": model.config.width, "tokenizer": tokenizer.fingerprint}
    if any(facts.get(key) != value for key, value in here.items()):
        raise WeightsError(
            f"The memory in {folder} was made by another model: width {facts.get('width')}, tokenizer "
            f"{str(facts.get('tokenizer'))[:12]}; this one has {model.config.width} and "
            f"{tokenizer.fingerprint[:12]}. Make one for it: mainspring models remember."
        )
    return Memory(keys_SD, next_S, settings)
