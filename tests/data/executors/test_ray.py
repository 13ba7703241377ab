"""A cluster of two workers on this machine: the same as processes of our own, to the byte."""

import sys
from contextlib import closing
from pathlib import Path

import pytest

import fakes_work as work
from fakes_bench import Bench, recipe_of
from fakes_build import write_rows
from mainspring.data.executors.ray import RayExecutor
from mainspring.errors import MainspringError, UserError

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'mainspring[scale]'")
pytestmark = [pytest.mark.scale, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster():
    """A head without processors and two workers with one each, as two machines would be."""
    from ray.cluster_utils import Cluster

    path = ":".join([str(Path(__file__).parents[2]), *sys.path])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)  # what Ray's workers import from
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        for _ in range(2):
            made.add_node(num_cpus=1)
        made.wait_for_nodes()
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def executor(cluster):
    with closing(RayExecutor(address=cluster.address)) as made:
        yield made


def test_every_task_is_answered_once_by_both_workers(executor):
    assert sorted(executor.map(work.slow_square, range(30))) == [(i, i * i) for i in range(30)]
    assert executor.num_workers == 2
    assert len({pid for _, pid in executor.map(work.slow_process, range(8))}) >= 2


def test_faults_are_told_as_by_processes_of_our_own(executor):
    with pytest.raises(MainspringError, match=r"^0 failed: ZeroDivisionError: .*fakes_work\.py, line "):
        list(executor.map(work.divide, [1, 2, 0]))
    with pytest.raises(UserError, match="two is not wanted"):
        list(executor.map(work.refuse, range(4)))
    with pytest.raises(MainspringError, match="The worker that did 3 was lost"):
        list(executor.map(work.DieAt(3), range(6)))


def test_the_dataset_is_the_same_to_the_byte(executor, cluster, bench):
    texts = [f"a text of {number % 50} words that ends here{'!' * (number % 3)}" for number in range(200)]
    path = write_rows(bench.root / "rows.jsonl", texts)
    dedup = {"exact": True, "near": {"ngram": 2}, "spans": {"min_words": 3, "min_characters": 5}}
    local = bench.build(recipe_of(path, 2000, dedup=dedup, executor={"workers": 2}))
    other = Bench(bench.root / "ray")
    remote = other.build(
        recipe_of(path, 2000, dedup=dedup, executor={"kind": "ray", "address": cluster.address})
    )
    assert other.tree(remote) == bench.tree(local)
    assert 0 < remote.report.documents < 200


def test_a_cluster_that_is_not_there_is_told():
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(UserError, match=r"executor\.address"):
        RayExecutor(address="127.0.0.1:1")
