"""An adapter of the registry and its base become one model of the registry, which answers as the two did."""

from pathlib import Path

from mainspring import artifact as artifacts
from mainspring.adapt import store
from mainspring.adapt.bake import bake
from mainspring.artifact import Artifact
from mainspring.errors import ConfigError
from mainspring.models.convert import DTYPES, Dtype
from mainspring.models.load import load
from mainspring.models.published import copy_beside
from mainspring.models.save import save
from mainspring.registry import Registry


def bake_adapter(registry: Registry, reference: str, name: str, dtype: Dtype = "float32") -> Artifact:
    """Register the model that an adapter and its base are together.

    Raises:
        ConfigError: no adapter, one that names no base, or one of a kind that is no change of weights.
        WeightsError: an adapter of another base.

    """
    adapter = registry.get(reference, verify=True)
    if adapter.kind != "adapter" or "base" not in adapter.parents:
        raise ConfigError(
            f"{adapter.reference} is no adapter with a base in the registry. Name one: adapter/NAME@VERSION."
        )
    base = registry.get(adapter.parents["base"], verify=True)
    folder = registry.folder(base)
    model = load(folder)
    store.load(model, registry.folder(adapter), "baked")
    bake(model, "baked")
    config = model.config

    def fill(target: Path) -> None:
        save(model, target, dtype=DTYPES[dtype])
        copy_beside(folder, target)

    written = artifacts.write(
        registry.root, "model", name, fill,
        config={"family": config.family, "generates": config.is_served, "context": config.context},
        parents={"base": base.reference, "adapter": adapter.reference},
        license=" AND ".join(sorted({each.license for each in (base, adapter) if each.license})),
        card=f"{base.reference} with {adapter.reference} in its weights.",
    )  # fmt: skip
    return registry.add(written)
