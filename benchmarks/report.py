"""What all benchmarks print: figures beside their opponents', and the machine that they are of."""

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import psutil

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """Processor, cores, memory, system and Python of this machine."""
    names = [
        line.partition(":")[2].strip()
        for line in _lines(Path("/proc/cpuinfo"))
        if line.startswith("model name")
    ]
    cores, memory_gb = os.cpu_count(), psutil.virtual_memory().total / 1e9
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{names[0] if names else platform.processor()}, {cores} cores, {memory_gb:.0f} GB, {system}"


def row(what: str, unit: str, ours: float, opponents: dict[str, float], floor: float | None = None) -> dict:
    """One figure; the ratio is ours against the best opponent, higher is better."""
    best = max(opponents.values(), default=0.0)
    ratio = ours / best if best else None
    return {
        "what": what, "unit": unit, "ours": ours, "opponents": opponents, "ratio": ratio, "floor": floor,
    }  # fmt: skip


def at_most(what: str, unit: str, ours: float, most: float) -> dict:
    """A figure that must not be above a limit: the ratio is limit / figure, the floor 1."""
    ratio = 1.0 if ours <= most == 0 else most / ours if ours else float(most)
    return row(f"{what}, at most {most:g}", unit, ours, {}, 1.0) | {"ratio": ratio}


def keep(benchmark: str, rows: Sequence[dict]) -> None:
    """Store the rows beside the benchmarks, one a line."""
    RESULTS.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(each) for each in rows)
    head = f'"benchmark": {json.dumps(benchmark)},\n"machine": {json.dumps(machine())},'
    (RESULTS / f"{benchmark}.json").write_text(f'{{{head}\n"rows": [\n{lines}\n]}}\n', encoding="utf-8")


def show(benchmark: str, rows: Sequence[dict], *, as_json: bool) -> bool:
    """Print the rows; False if a ratio is below its floor."""
    if as_json:
        print(json.dumps({"benchmark": benchmark, "machine": machine(), "rows": list(rows)}))
    else:
        print(f"{benchmark} on {machine()}")
        for each in rows:
            others = "".join(f", {name} {value:,.1f}" for name, value in each["opponents"].items())
            ratio = f", ratio {each['ratio']:.2f}" if each["ratio"] is not None else ""
            floor = f" (at least {each['floor']:g} is promised)" if each["floor"] is not None else ""
            print(f"{each['what']}: ours {each['ours']:,.1f}{others} {each['unit']}{ratio}{floor}")
    return all(each["floor"] is None or each["ratio"] >= each["floor"] for each in rows)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
