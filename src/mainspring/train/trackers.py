"""What a run says of its steps, said to other programs too: TensorBoard and MLflow.

Off unless the configuration names one. metrics.jsonl has everything in any case, so a tracker that fails while the
run is under way is told of and left alone; one that cannot even be opened ends the run before its first step.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from mainspring.config import Config
from mainspring.errors import MissingExtraError, UserError
from mainspring.progress import say
from mainspring.train.comparison import flatten
from mainspring.train.metrics import StepReport
from mainspring.train.ranks import is_first

OnStep = Callable[[StepReport], None]
RUN_TAG = "mainspring.run"
MAX_PARAMS = 100  # that MLflow takes at once
MAX_VALUE = 500  # letters of a parameter's value that every MLflow store takes


class TensorBoard(Config):
    """Event files that TensorBoard shows."""

    kind: Literal["tensorboard"] = "tensorboard"
    folder: str = Field(
        default="", description="where the event files lie; empty: `tensorboard` in the folder of the run"
    )

    @contextmanager
    def opened(self, run: Path, values: Mapping[str, Any]) -> Iterator[OnStep]:
        """What takes every step of the run in this folder; what a killed run wrote too much is hidden."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtraError("tensorboard", "tensorboard", "A tracker of kind 'tensorboard'") from None
        folder = Path(self.folder) / run.name if self.folder else run / "tensorboard"
        writer: Any = None

        def tell(report: StepReport) -> None:
            nonlocal writer
            if writer is None:
                writer = SummaryWriter(str(folder), purge_step=report.step)
                writer.add_text(
                    "recipe", f"```\n{yaml.safe_dump(dict(values), sort_keys=False)}```", report.step
                )
            for name, value in _numbers(report).items():
                writer.add_scalar(name, value, report.step)

        try:
            yield _forgiving(tell, OSError)
        finally:
            if writer is not None:
                writer.close()


class MLflow(Config):
    """A run in an MLflow store; nothing is sent anywhere but to `uri`."""

    kind: Literal["mlflow"] = "mlflow"
    uri: str = Field(
        default="",
        description="of the tracking store; empty: the SQLite file mlflow.db beside the folders of the runs",
    )
    experiment: str = Field(default="mainspring", description="that the run belongs to")

    @contextmanager
    def opened(self, run: Path, values: Mapping[str, Any]) -> Iterator[OnStep]:
        """What takes every step of the run in this folder; a resumed run goes on in its own."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            from mlflow.entities import Metric
            from mlflow.exceptions import MlflowException
        except ImportError:
            raise MissingExtraError("mlflow-skinny", "mlflow", "A tracker of kind 'mlflow'") from None
        try:
            client, run_id = self._begin(run, values)
        except MlflowException as error:
            raise UserError(f"`tracker.uri` is '{self.uri}', which MLflow does not open: {error}") from None

        def tell(report: StepReport) -> None:
            now_ms = int(time.time() * 1000)
            metrics = [Metric(name, value, now_ms, report.step) for name, value in _numbers(report).items()]
            client.log_batch(run_id, metrics=metrics)

        status = "FAILED"
        try:
            yield _forgiving(tell, MlflowException)
            status = "FINISHED"
        finally:
            _forgiving(lambda _: client.set_terminated(run_id, status), MlflowException)(None)

    def _begin(self, run: Path, values: Mapping[str, Any]) -> tuple[Any, str]:
        """A client, and the run's id in the store."""
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        root = run.resolve().parent
        client = MlflowClient(tracking_uri=self.uri or f"sqlite:///{root / 'mlflow.db'}")
        known = client.get_experiment_by_name(self.experiment)
        artifacts = None if self.uri else (root / "mlflow").as_uri()
        experiment = known.experiment_id if known else client.create_experiment(self.experiment, artifacts)
        for found in client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{run.name}'"):
            client.update_run(found.info.run_id, status="RUNNING")
            return client, found.info.run_id
        begun = client.create_run(experiment, run_name=run.name, tags={RUN_TAG: run.name}).info.run_id
        params = [Param(name, str(value)[:MAX_VALUE]) for name, value in flatten(values).items()]
        for at in range(0, len(params), MAX_PARAMS):
            client.log_batch(begun, params=params[at : at + MAX_PARAMS])
        return client, begun


Tracker = Annotated[TensorBoard | MLflow, Field(discriminator="kind")]


@contextmanager
def tracked(
    tracker: TensorBoard | MLflow | None, run: Path, values: Mapping[str, Any], on_step: OnStep | None
) -> Iterator[OnStep | None]:
    """What to give to `train` as `on_step`, so that the tracker and whoever wants it else hear of every step.

    Args:
        tracker: None where none is wanted; of several ranks only the first one tells.
        run: the run's folder, by whose name the tracker knows it.
        values: the run's configuration.
        on_step: who else is told.

    """
    if tracker is None or not is_first():
        yield on_step
        return
    opened: AbstractContextManager[OnStep] = tracker.opened(run, values)
    with opened as tell:

        def both(report: StepReport) -> None:
            tell(report)
            if on_step is not None:
                on_step(report)

        yield both


def _numbers(report: StepReport) -> dict[str, float]:
    own = {
        name: getattr(report, name)
        for name in ("loss", "lr", "grad_norm", "tokens", "trained_tokens", "tokens_per_s", "seconds")
    }
    return {**own, **{f"metrics/{name}": value for name, value in report.metrics.items()}}


def _forgiving(tell: Callable[[Any], Any], fault: type[Exception]) -> Callable[[Any], None]:
    """Calls `tell` until it fails for the first time, which is said."""
    has_failed = False

    def told(value: Any) -> None:
        nonlocal has_failed
        if has_failed:
            return
        try:
            tell(value)
        except fault as error:
            has_failed = True
            say(f"the tracker failed and is told nothing more of this run; metrics.jsonl has all: {error}")

    return told
