"""What is said of every step: a line of metrics.jsonl and a line of progress."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mainspring.device import peak_rss_bytes

NAME = "metrics.jsonl"
VALID_LOSS = "valid_loss"  # among the metrics of a step after which the held-out items were looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One step, counted from 1; `loss` and `metrics` are means over what the objective counts."""

    step: int
    loss: float
    lr: float
    grad_norm: float
    tokens: int
    trained_tokens: float
    seconds: float
    metrics: dict[str, float]

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds


class Metrics:
    """metrics.jsonl of a run; what a killed run wrote after its last state is dropped.

    `is_kept`: not where another process of the run writes them.
    """

    def __init__(self, state_dir: Path, after_step: int, *, is_kept: bool = True) -> None:
        self.path, self._is_kept = state_dir / NAME, is_kept
        if not is_kept:
            return
        lines = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        self.path.write_text("".join(lines[:after_step]))

    def write(self, report: StepReport) -> None:
        if not self._is_kept:
            return
        values = {**asdict(report), "tokens_per_s": report.tokens_per_s}
        with self.path.open("a") as stream:
            stream.write(json.dumps(values) + "\n")


def line(report: StepReport, num_steps: int, seconds_per_step: float) -> str:
    """Progress for people: `step 12/60  loss 1.234  lr 2.0e-04  450 tok/s  1.9 GB  eta 40 s`."""
    eta_s = (num_steps - report.step) * seconds_per_step
    eta = f"{eta_s:.0f} s" if eta_s < 120 else f"{eta_s / 60:.0f} min"
    return (
        f"step {report.step}/{num_steps}  loss {report.loss:.3f}  lr {report.lr:.1e}  "
        f"{report.tokens_per_s:,.0f} tok/s  {peak_rss_bytes() / 1e9:.1f} GB  eta {eta}"
    )
