"""What other programs read of a run is what the run said."""

import pytest

from mainspring.errors import MissingExtraError, UserError
from mainspring.train.metrics import StepReport
from mainspring.train.trackers import MLflow, TensorBoard, tracked

VALUES = {"name": "a", "train": {"optim": {"lr": 0.5}}}


def report(step, loss=1.0, **metrics):
    return StepReport(
        step=step, loss=loss, lr=1e-3, grad_norm=1.0, tokens=20, trained_tokens=10.0, seconds=0.5, metrics=metrics
    )  # fmt: skip


def run(tracker, folder, reports):
    heard = []
    with tracked(tracker, folder, VALUES, heard.append) as on_step:
        for each in reports:
            on_step(each)
    assert heard == list(reports)


def test_without_a_tracker_nothing_is_in_between(tmp_path):
    with tracked(None, tmp_path, VALUES, print) as on_step:
        assert on_step is print
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_tensorboard_reads_back_what_was_told_without_what_a_kill_took_away(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(TensorBoard(), tmp_path, [report(1, 3.0, valid_loss=2.0), report(2, 9.0), report(3, 9.0)])
    run(TensorBoard(), tmp_path, [report(2, 2.0), report(3, float("nan"))])  # resumed behind step 1
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    losses = [(each.step, each.value) for each in events.Scalars("loss")]
    assert losses[:2] == [(1, 3.0), (2, 2.0)]
    assert [step for step, _ in losses] == [1, 2, 3]
    assert losses[2][1] != losses[2][1]
    assert [each.value for each in events.Scalars("tokens_per_s")] == [40.0] * 3
    assert events.Scalars("metrics/valid_loss")[0].value == 2.0
    assert b"lr: 0.5" in events.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0]


@pytest.mark.slow
def test_mlflow_reads_back_what_was_told_and_a_resumed_run_is_the_same_one(tmp_path, capsys):
    folder = tmp_path / "runs" / "train-1"
    folder.mkdir(parents=True)

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), tracked(MLflow(), folder, VALUES, stop) as on_step:
        on_step(report(1, 3.0, valid_loss=2.0))

    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mainspring")
    (failed,) = client.search_runs([experiment.experiment_id])
    assert failed.info.status == "FAILED"
    run(MLflow(), folder, [report(2, 2.0)])
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("train-1", "FINISHED")
    assert found.data.params == {"name": "a", "train.optim.lr": "0.5"}
    history = client.get_metric_history(found.info.run_id, "loss")
    assert [(each.step, each.value) for each in history] == [(1, 3.0), (2, 2.0)]
    assert found.data.metrics["metrics/valid_loss"] == 2.0

    with tracked(MLflow(), folder, VALUES, None) as on_step:
        client.delete_run(found.info.run_id)  # nothing can be told of it any more
        on_step(report(3))
        on_step(report(4))
    said = capsys.readouterr().err.replace("\n", " ")
    assert said.count("the tracker failed and is told nothing more") == 2  # a step, and the end
    with (
        pytest.raises(UserError, match=r"`tracker.uri` is 'nowhere:///x'"),
        tracked(MLflow(uri="nowhere:///x"), folder, VALUES, None),
    ):
        pass


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    import sys

    for tracker, module, extra in (
        (TensorBoard(), "torch.utils.tensorboard", "tensorboard"),
        (MLflow(), "mlflow.entities", "mlflow"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with (
            pytest.raises(MissingExtraError, match=rf"mainspring\[{extra}\]"),
            tracked(tracker, tmp_path, VALUES, None),
        ):
            pass
