"""A small linear classifier of text: how probable it is that a document is one of the good ones.

Its folder holds the weights (safetensors) and what else it needs to score (JSON); no code is in them.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from mainspring.artifact import MANIFEST, Artifact, check
from mainspring.data.features import FeatureSettings, features
from mainspring.errors import NotFoundError, WeightsError

WEIGHTS = "weights.safetensors"
ABOUT = "classifier.json"


class About(msgspec.Struct, frozen=True, kw_only=True):
    features: FeatureSettings
    bias: float
    threshold: float
    """The score that parts the good from the bad ones best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """weights: one a bucket, shape (num_buckets,), float32."""

    weights: np.ndarray
    about: About

    @property
    def threshold(self) -> float:
        return self.about.threshold

    def score(self, text: str) -> float:
        """The probability of being good, 0 to 1."""
        found = features(text, self.about.features)
        return sigmoid(float(self.weights[found.buckets] @ found.values) + self.about.bias)

    def write(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        save_file({"weights": self.weights}, folder / WEIGHTS)
        (folder / ABOUT).write_bytes(msgspec.json.format(msgspec.json.encode(self.about), indent=2))

    @staticmethod
    def read(folder: Path) -> "Classifier":
        """Read what `write` wrote; in an artifact every file is checked against its manifest.

        Raises:
            NotFoundError: no classifier is there.
            ChecksumError: a file is not the one that the manifest names.
            WeightsError: weights that are none, or of another size than the buckets.

        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        if not (folder / ABOUT).is_file() or not (folder / WEIGHTS).is_file():
            raise NotFoundError(
                f"There is no classifier in {folder}. Train one with `mainspring data classifier`, and give the "
                "folder that it prints."
            )
        if (folder / MANIFEST).is_file():
            check(msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Artifact), folder)
        try:
            about = msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
            weights = load_file(folder / WEIGHTS)["weights"]
        except (msgspec.MsgspecError, SafetensorError, KeyError) as error:
            raise WeightsError(f"The classifier in {folder} is damaged ({error}). Train it again.") from error
        if weights.shape != (about.features.num_buckets,):
            raise WeightsError(
                f"The classifier in {folder} has weights of the shape {weights.shape}, and {ABOUT} speaks of "
                f"{about.features.num_buckets:,} buckets. Train it again."
            )
        return Classifier(weights=weights, about=about)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
