"""What the linears of a model are called where models are published, which is how peft names them."""

from collections.abc import Sequence

from mainspring.errors import WeightsError
from mainspring.models.families.base import names_of
from mainspring.models.model import Model

PREFIX = "base_model.model."


def published_paths(model: Model, paths: Sequence[str] | None = None) -> dict[str, str]:
    """Our path of a linear -> its published path, of all that are published alone or of those at `paths`.

    Raises:
        WeightsError: one of `paths` is the rows of a published tensor that it shares with others.

    """
    table = names_of(model.config).table(model.config)
    found = {ours.removesuffix(".weight"): name.removesuffix(".weight") for ours, name in table.items()}
    if paths is None:
        return found
    for path in paths:
        if path not in found:
            raise WeightsError(
                f"{path} is published as a part of a larger matrix in {model.config.family} models, so peft's "
                "format has no name for its adapter. Train one of other linears."
            )
    return {path: found[path] for path in paths}


def names_for(model: Model, paths: Sequence[str]) -> list[str]:
    """What peft is told to look for, so that it finds these linears and no others.

    The last part of their names does, unless other weights end so too (BERT's `dense`); then whole names.
    """
    everything, wanted = published_paths(model), set(paths)
    names: set[str] = set()
    for path in paths:
        last = everything[path].rpartition(".")[2]
        alike = {ours for ours, name in everything.items() if name.rpartition(".")[2] == last}
        names.add(last if alike <= wanted else everything[path])
    return sorted(names)
