"""Word vectors by skip-gram with negative sampling: the small classic that embeddings began with.

Paper: arXiv:1310.4546, section 2.2 (negative sampling, p ~ count^0.75) and 2.3 (frequent words are thinned).
Ours: pairs are learnt in batches by Adagrad on sparse rows.

Shapes: V words, D width, B pairs of a batch, N negatives of a pair.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file

from mainspring.config import Config
from mainspring.errors import DocumentError, NotFoundError, WeightsError

WORDS, WEIGHTS = "words.json", "vectors.safetensors"


class VectorSettings(Config):
    """How word vectors are trained."""

    width: int = Field(default=100, ge=1, description="numbers of a word's vector")
    window: int = Field(default=5, ge=1, description="words on either side that a word predicts, at most")
    negatives: int = Field(default=5, ge=1, description="random words beside each true one")
    min_count: int = Field(default=5, ge=1, description="words seen less often are left out")
    thin: float = Field(default=1e-3, gt=0, description="share of the text above which a word is thinned")
    epochs: int = Field(default=3, ge=1, description="passes over the text")
    batch: int = Field(default=4096, ge=1, description="pairs learnt at once")
    lr: float = Field(default=0.1, gt=0, description="step size of Adagrad")
    seed: int = Field(default=0, description="of the start, the thinning and the negatives")


class WordVectors:
    """Words and their unit vectors.

    >>> vectors = WordVectors(["a", "b"], torch.eye(2))
    >>> vectors.near("a", 1)
    [('b', 0.0)]
    """

    def __init__(self, words: Sequence[str], vectors_VD: torch.Tensor) -> None:
        self.words = list(words)
        self.vectors_VD = torch.nn.functional.normalize(vectors_VD, dim=1)
        self._place = {word: place for place, word in enumerate(self.words)}

    def near(self, word: str, count: int) -> list[tuple[str, float]]:
        """The words whose vectors have the highest cosine with this one's."""
        return self._nearest(self.vector(word), {word}, count)

    def analogy(self, a: str, b: str, c: str, count: int) -> list[tuple[str, float]]:
        """Words that are to c as b is to a: nearest to b - a + c (arXiv:1301.3781, section 4)."""
        target_D = self.vector(b) - self.vector(a) + self.vector(c)
        return self._nearest(torch.nn.functional.normalize(target_D, dim=0), {a, b, c}, count)

    def vector(self, word: str) -> torch.Tensor:
        """The unit vector of a word.

        Raises:
            NotFoundError: a word that was seen too seldom or never.

        """
        if word not in self._place:
            raise NotFoundError(
                f"'{word}' is none of the {len(self.words):,} words that have vectors; words are lower-cased, and "
                "those seen seldom are left out. Ask another, or train with a lower min_count."
            )
        return self.vectors_VD[self._place[word]]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WORDS).write_text(json.dumps(self.words, ensure_ascii=False), encoding="utf-8")
        save_file({"vectors": self.vectors_VD}, folder / WEIGHTS)

    @classmethod
    def load(cls, folder: Path) -> "WordVectors":
        """Read what save wrote.

        Raises:
            WeightsError: no word vectors there.

        """
        try:
            words = json.loads((folder / WORDS).read_text(encoding="utf-8"))
            return cls(words, load_file(folder / WEIGHTS)["vectors"])
        except (OSError, ValueError, KeyError) as error:
            raise WeightsError(
                f"{folder} holds no word vectors ({error}). Make some: mainspring models vectors."
            ) from error

    def _nearest(self, target_D: torch.Tensor, without: set[str], count: int) -> list[tuple[str, float]]:
        cosine_V = self.vectors_VD @ target_D
        for word in without:
            cosine_V[self._place[word]] = -torch.inf
        best = cosine_V.topk(min(count, len(self.words) - len(without)))
        return [(self.words[place], float(value)) for value, place in zip(*best, strict=True)]


def train(
    texts: Iterable[Sequence[str]],
    settings: VectorSettings,
    *,
    told: Callable[[int, float], None] = lambda _epoch, _loss: None,
) -> WordVectors:
    """Vectors of the words of texts (each a list of words); `told(epoch, mean loss)` after every pass.

    Raises:
        DocumentError: fewer than two words are frequent enough.

    """
    lines = [list(text) for text in texts]
    counts = Counter(word for line in lines for word in line)
    words = [word for word, count in counts.most_common() if count >= settings.min_count]
    if len(words) < 2:
        raise DocumentError(
            f"{len(words)} of {len(counts):,} words were seen {settings.min_count} times or more; two are needed. "
            "Give more text, or set -o min_count=1."
        )
    place = {word: number for number, word in enumerate(words)}
    ids = [torch.tensor([place[word] for word in line if word in place]) for line in lines]
    count_V = torch.tensor([float(counts[word]) for word in words])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return WordVectors(words, _learn(ids, count_V, settings, told))


def _learn(
    lines: list[torch.Tensor],
    count_V: torch.Tensor,
    settings: VectorSettings,
    told: Callable[[int, float], None],
) -> torch.Tensor:
    """The centers' vectors, after all passes."""
    size, width = len(count_V), settings.width
    center = torch.nn.Embedding(size, width, sparse=True)
    around = torch.nn.Embedding(size, width, sparse=True)
    torch.nn.init.uniform_(center.weight, -0.5 / width, 0.5 / width)
    torch.nn.init.zeros_(around.weight)
    optimizer = torch.optim.Adagrad([*center.parameters(), *around.parameters()], lr=settings.lr)
    share_V = count_V / count_V.sum()
    keep_V = ((settings.thin / share_V).sqrt() + settings.thin / share_V).clamp(max=1)
    noise_V = count_V**0.75
    for epoch in range(settings.epochs):
        pairs_P2 = _pairs(lines, keep_V, settings.window)
        pairs_P2 = pairs_P2[torch.randperm(len(pairs_P2))]
        total = 0.0
        for batch_B2 in pairs_P2.split(settings.batch):
            noise_BN = torch.multinomial(noise_V, len(batch_B2) * settings.negatives, replacement=True)
            loss = _loss(
                center(batch_B2[:, 0]), around(batch_B2[:, 1]), around(noise_BN.view(len(batch_B2), -1))
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach())
        told(epoch + 1, total / max(len(pairs_P2), 1))
    return center.weight.detach()


def _loss(center_BD: torch.Tensor, true_BD: torch.Tensor, noise_BND: torch.Tensor) -> torch.Tensor:
    """-log s(c . true) - sum log s(-c . noise), summed over the batch (eq. 4)."""
    true_B = (center_BD * true_BD).sum(1)
    noise_BN = torch.einsum("bd,bnd->bn", center_BD, noise_BND)
    logsigmoid = torch.nn.functional.logsigmoid
    return -(logsigmoid(true_B).sum() + logsigmoid(-noise_BN).sum())


def _pairs(lines: list[torch.Tensor], keep_V: torch.Tensor, window: int) -> torch.Tensor:
    """(center, neighbour) of every word that survives the thinning; each draws how far it looks."""
    found: list[torch.Tensor] = []
    for line_L in lines:
        kept_L = line_L[torch.rand(len(line_L)) < keep_V[line_L]]
        reach_L = torch.randint(1, window + 1, (len(kept_L),))
        for distance in range(1, min(window, len(kept_L) - 1) + 1):
            left, right = kept_L[:-distance], kept_L[distance:]
            looks_right, looks_left = reach_L[:-distance] >= distance, reach_L[distance:] >= distance
            found.append(torch.stack([left[looks_right], right[looks_right]], dim=1))
            found.append(torch.stack([right[looks_left], left[looks_left]], dim=1))
    return torch.cat(found) if found else torch.empty(0, 2, dtype=torch.int64)
