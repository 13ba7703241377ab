"""Pictures of runs as PNG files: loss, learning rate, gradient norm, throughput."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mainspring.errors import MissingExtraError
from mainspring.progress import say
from mainspring.train.history import History, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "metrics.png"
DPI = 110
NUM_SMOOTHED = 50  # points of the smoothed line, about


def plot_metrics(folder: Path) -> Path | None:
    """Write metrics.png into a run's folder after it; without matplotlib one line says how to get it."""
    try:
        return draw_run(read(folder), folder / NAME, folder.name)
    except MissingExtraError as error:
        say(str(error))
        return None


def draw_run(history: History, path: Path, title: str) -> Path:
    """Loss, learning rate, gradient norm and throughput over the steps of a run."""
    with picture(path, 2, 2, "The plot of a run") as (figure, (loss, lr, norm, speed)):
        figure.suptitle(title)
        draw_loss(loss, history, history.steps, "training")
        looked = [(history.steps[at], value) for at, value in history.valid]
        if looked:
            loss.plot(*zip(*looked, strict=True), marker="o", markersize=3, label="held out")
        label(loss, "step", "loss", legend=True)
        lr.plot(history.steps, [each.lr for each in history.reports])
        label(lr, "step", "learning rate")
        norm.plot(history.steps, [each.grad_norm for each in history.reports], linewidth=0.8)
        label(norm, "step", "gradient norm")
        speed.plot(history.steps, [each.tokens_per_s for each in history.reports], linewidth=0.8)
        label(speed, "step", "tokens per second")
        speed.set_ylim(bottom=0)
    return path


def draw_comparison(histories: Mapping[str, History], path: Path) -> Path:
    """Losses of several runs over steps and over trained tokens."""
    with picture(path, 1, 2, "The plot of a comparison") as (_, (left, right)):
        for name, history in histories.items():
            draw_loss(left, history, history.steps, name)
            draw_loss(right, history, history.trained_tokens, name)
        label(left, "step", "loss", legend=True)
        label(right, "trained tokens", "loss")
    return path


def draw_loss(axes: "Axes", history: History, at: Sequence[float], name: str) -> None:
    """Every step's loss, faint, and a running mean of it."""
    width = max(1, len(at) // NUM_SMOOTHED)
    (line,) = axes.plot(at, _running_mean(history.losses, width), label=name)
    if width > 1:
        axes.plot(at, history.losses, color=line.get_color(), alpha=0.25, linewidth=0.6)


def label(axes: "Axes", x: str, y: str, *, legend: bool = False) -> None:
    """Name the axes."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


@contextmanager
def picture(path: Path, rows: int, columns: int, why: str) -> "Iterator[tuple[Figure, list[Axes]]]":
    """A figure of so many axes, written to a file at the block's end; `why` says what needs matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "plot", why) from None
    figure = Figure(figsize=(5 * columns, 3.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, columns, number + 1) for number in range(rows * columns)]
    yield figure, axes
    figure.savefig(path, dpi=DPI)


def _running_mean(values: Sequence[float], width: int) -> list[float]:
    """Mean of each value and those up to `width` - 1 before it."""
    mean: Callable[[Sequence[float]], float] = lambda part: sum(part) / len(part)  # noqa: E731
    return [mean(values[max(0, at + 1 - width) : at + 1]) for at in range(len(values))]
