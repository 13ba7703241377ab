"""How a plain model is sampled from where its client says nothing."""

from pathlib import Path

import msgspec

from mainspring.errors import WeightsError
from mainspring.schema import ALL_THAT_FIT, Sampling

FILE = "generation_config.json"


class Published(msgspec.Struct, frozen=True, omit_defaults=True):
    """What we take of a published generation_config.json."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None


def default_sampling(folder: Path) -> Sampling:
    """What the files of a model say, and else what OpenAI's API has: temperature 1, and all that the context holds.

    Raises:
        WeightsError: a file that does not read.

    """
    path = folder / FILE
    try:
        said = msgspec.json.decode(path.read_bytes(), type=Published) if path.exists() else Published()
    except msgspec.DecodeError as error:
        raise WeightsError(f"{path} does not read: {error}. Mend it, or remove it.") from error
    return Sampling(**{"temperature": 1.0, "max_tokens": ALL_THAT_FIT, **msgspec.to_builtins(said)})
