"""Builds that are killed, gone on with, changed in between: the dataset is that of an undisturbed build."""

import contextlib
import fcntl
import random
import signal

import psutil
import pytest
import yaml

from fakes_bench import Bench, recipe_of
from fakes_build import lines, tree, write_rows
from fakes_killed_build import kill_after, start, wait_for
from mainspring.errors import BusyError, ConfigError, MainspringError, NotFoundError, UserError

pytestmark = pytest.mark.slow

TEXTS = [f"{word} once there was a {word} that nobody knew {number % 70}!" for number, word in enumerate(
    ["tower", "lamp", "spring", "owner", "wheel"] * 40
)]  # fmt: skip


@pytest.fixture
def noted(bench):
    """A recipe whose rule notes every document that it sees, in a file."""
    path = write_rows(bench.root / "rows.jsonl", TEXTS)
    note = {"note": {"log": f":{bench.root}/seen.log", "pause_s": 0.001}}
    return {**recipe_of(path, 1500), "rules": ["quiet", note], "dedup": {"exact": True, "near": {"ngram": 2}}}


def seen(bench):
    """The documents noted since the last look."""
    path = bench.root / "seen.log"
    found = path.read_text().split()
    path.write_text("")
    return found


def write_recipe(bench, recipe):
    path = bench.root / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def command(bench, recipe, workers=2):
    return (
        "data",
        "build",
        "-c",
        write_recipe(bench, {**recipe, "executor": {"workers": workers}}),
        "--workspace",
        bench.root,
    )


def in_parts(bench):
    """The documents of the parts that are finished."""
    done = bench.root.glob("runs/*/read/[0-9a-f]*/documents.jsonl")
    return {line["id"] for path in done for line in lines(path)}


@contextlib.contextmanager
def holding(bench):
    """A build does not get beyond a document while this lasts, however slowly it is looked at."""
    hold = bench.root / "seen.hold"
    hold.write_text("rows.jsonl#150")
    yield
    hold.unlink()


def undisturbed(bench, recipe):
    other = Bench(bench.root / "undisturbed")
    tree = other.tree(other.build(recipe))
    (bench.root / "seen.log").write_text("")
    return tree


def test_the_same_command_goes_on_with_what_was_killed_and_does_no_finished_part_again(bench, noted):
    wanted = undisturbed(bench, noted)
    with holding(bench):
        child = start(*command(bench, noted))
        wait_for(lambda: len(in_parts(bench)) > 40)
        workers = psutil.Process(child.pid).children(recursive=True)
        child.send_signal(signal.SIGKILL)
        child.wait()
    psutil.wait_procs(workers, timeout=20)  # they end what they have begun
    finished = in_parts(bench)
    seen(bench)
    built = bench.build(noted)
    assert bench.tree(built) == wanted
    again = seen(bench)
    assert 40 < len(finished) < len(TEXTS)
    assert sorted([*again, *finished]) == sorted(f"rows.jsonl#{number + 1}" for number in range(len(TEXTS)))
    assert [run.status for run in bench.runs.list("data")] == ["done"]
    assert [path.name for path in bench.runs.folder(built.run).iterdir() if path.is_dir()] == []


@pytest.mark.slow
@pytest.mark.parametrize("with_workers", [True, False])
def test_kills_at_random_moments_change_no_byte(bench, noted, with_workers):
    """Each moment is drawn anew, from the start of a process to behind its end."""
    wanted, draw, kills = undisturbed(bench, noted), random.Random(int(with_workers)), 0
    for number in range(6):
        root = Bench(bench.root / str(number))
        arguments = (*command(bench, noted)[:-1], root.root)
        for _ in range(4):
            if not kill_after(start(*arguments), draw.uniform(0.3, 1.8), with_workers=with_workers):
                break
            kills += 1
        child = start(*arguments)
        _, said = child.communicate(timeout=60)
        assert child.returncode == 0, said
        datasets = Bench(root.root).registry.list("dataset")
        assert datasets == ["dataset/rows@1"], said
        registry = Bench(root.root).registry
        assert tree(registry.folder(registry.get("dataset/rows@1"))) == wanted
    assert kills > 5


def stopped(bench, recipe):
    """A run that failed when some parts were finished; its id."""
    stop = bench.root / "seen.stop"
    stop.write_text("rows.jsonl#120")
    with pytest.raises(MainspringError, match="told to stop here"):
        bench.build(recipe)
    stop.unlink()
    assert 20 < len(in_parts(bench)) < len(TEXTS)
    return bench.runs.list("data")[0].id


def test_changed_sources_begin_a_new_run_and_are_listed_for_the_old_one(bench, noted):
    more = write_rows(bench.root / "more.jsonl", [f"more of it {number}" for number in range(5)])
    recipe = {**noted, "sources": [*noted["sources"], {"kind": "fake", "path": str(more)}]}
    run = stopped(bench, recipe)
    finished = {name for name in in_parts(bench) if name.startswith("rows")}
    write_rows(more, [f"more of it {number}" for number in range(7)])
    with pytest.raises(ConfigError, match=r"sources\.more\.jsonl: .* then, .* now\n.*--accept"):
        bench.resume(run)
    seen(bench)
    built = bench.resume(run, accept=True)
    assert built.report.sources["more.jsonl"].documents == 7
    assert bench.tree(built) == undisturbed(bench, recipe)
    assert not finished & set(seen(bench))


def test_only_the_changed_source_is_read_again(bench, noted):
    more = write_rows(bench.root / "more.jsonl", [f"more of it {number}" for number in range(5)])
    recipe = {**noted, "sources": [*noted["sources"], {"kind": "fake", "path": str(more)}]}
    run = stopped(bench, recipe)
    finished = {name for name in in_parts(bench) if name.startswith("rows")}
    write_rows(more, [f"more of it {number}" for number in range(7)])
    seen(bench)
    bench.resume(run, accept=True)
    assert finished
    assert sorted(seen(bench)) == sorted(
        {f"rows.jsonl#{number + 1}" for number in range(len(TEXTS))} - finished
        | {f"more.jsonl#{number + 1}" for number in range(7)}
    )


def test_another_recipe_is_accepted_only_when_told(bench, noted):
    run = stopped(bench, noted)
    other = {**noted, "rules": [*noted["rules"], {"short": {"min_words": 5}}]}
    with pytest.raises(ConfigError, match=r"recipe\.rules\.2: nothing then"):
        bench.build(other, resume=run)
    built = bench.build(other, resume=run, accept=True)
    assert built.run == run
    assert "short" in built.report.steps


def test_the_same_command_over_changed_sources_begins_a_new_run(bench, noted, capsys):
    run = stopped(bench, noted)
    path = write_rows(bench.root / "rows.jsonl", TEXTS[:50])
    built = bench.build({**noted, "sources": [{**noted["sources"][0], "path": str(path)}]})
    assert built.run != run
    assert f"--resume {run} --accept" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_is_running_is_not_resumed(bench, noted):
    with holding(bench):
        child = start(*command(bench, noted))
        wait_for(lambda: len(in_parts(bench)) > 1)
        with pytest.raises(BusyError, match="is running as process"):
            bench.resume(bench.runs.list("data")[0].id)
        child.kill()
        child.wait()


def test_a_run_is_resumed_by_one_process_only(bench, noted):
    run = stopped(bench, noted)
    with (bench.runs.folder(run) / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="is being resumed by another process"):
            bench.resume(run)
    assert bench.resume(run).run == run


def test_what_cannot_be_resumed_is_told(bench, noted):
    done = bench.build(noted).run
    with pytest.raises(UserError, match=r"is done; its dataset is dataset/rows@1"):
        bench.resume(done)
    with pytest.raises(NotFoundError):
        bench.resume("data-none")
    other = bench.runs.start("tune", {})
    with pytest.raises(UserError, match=r"not a run of `data build`"):
        bench.resume(other.id)


@pytest.mark.slow
def test_ctrl_c_says_one_line_and_leaves_no_worker(bench, noted):
    with holding(bench):
        child = start(*command(bench, noted))
        wait_for(lambda: len(in_parts(bench)) > 20)
        workers = psutil.Process(child.pid).children(recursive=True)
        child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=20)
    assert child.returncode == 130
    assert said.splitlines()[-1] == "stopped"
    assert "Traceback" not in said
    assert len(workers) >= 2
    psutil.wait_procs(workers, timeout=5)
    assert not [
        worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE
    ]
    assert bench.build(noted).is_new
