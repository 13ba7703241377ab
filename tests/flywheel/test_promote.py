"""One label says what answers in production, and it moves past the gate only."""

import random
import time

import pytest

from fakes_workspace import (
    add_assistant,
    add_evaluation,
    lesson,
    other_process,
    pipe,
    promote_for_ever,
    recipe,
    tune,
)
from mainspring.app import ASSISTANT, IN_PRODUCTION, PRODUCTION, Workspace
from mainspring.errors import ChecksumError, GateRefusedError, UserError
from mainspring.flywheel import curate
from mainspring.flywheel.promote import PROMOTION, promote, rollback

KILLS = 5


@pytest.fixture
def candidate(workspace, index, base):
    return add_assistant(workspace, index, threshold=0.5)


def in_production(workspace):
    return workspace.registry.get(IN_PRODUCTION).reference


def test_the_first_passes_because_there_is_nothing_to_compare_it_with(workspace, index):
    assistant = add_assistant(workspace, index)
    assert promote(workspace, assistant.reference).startswith("the first")
    assert in_production(workspace) == assistant.reference


def test_one_that_was_not_evaluated_is_refused(workspace, base, candidate):
    with pytest.raises(GateRefusedError, match=f"mainspring gate {candidate.reference}") as refused:
        promote(workspace, candidate.reference)
    assert refused.value.exit_code == 3
    assert in_production(workspace) == base.reference


def test_one_that_was_evaluated_and_refused_is_refused_here_too(workspace, base, candidate):
    add_evaluation(workspace, candidate.reference, "refuse")
    add_evaluation(workspace, base.reference, "pass")
    with pytest.raises(GateRefusedError):
        promote(workspace, candidate.reference)
    assert in_production(workspace) == base.reference


def test_one_that_passed_moves_the_label_and_leaves_a_trace(workspace, candidate):
    evaluation = add_evaluation(workspace, candidate.reference, "pass")
    reason = promote(workspace, candidate.reference)
    assert evaluation.reference in reason
    assert in_production(workspace) == candidate.reference
    event = workspace.log.find(type=PROMOTION)[-1]
    assert (event.subject, event.data) == (candidate.reference, {"label": PRODUCTION, "reason": reason})


def test_a_rollback_goes_to_the_one_before_and_the_way_forth_stays_open(workspace, base, candidate):
    add_evaluation(workspace, candidate.reference, "pass")
    promote(workspace, candidate.reference)
    assert rollback(workspace) == in_production(workspace) == base.reference
    assert promote(workspace, candidate.reference) == "was in production before"


def test_there_is_no_way_back_from_the_first(workspace, base):
    with pytest.raises(GateRefusedError, match="no earlier version"):
        rollback(workspace)
    assert in_production(workspace) == base.reference


def test_another_kind_cannot_answer_in_production(workspace, base):
    with pytest.raises(UserError, match="only versions of assistant/mainspring"):
        promote(workspace, "model/smollm2@1")


def test_an_edited_adapter_does_not_reach_production(workspace, index, base):
    curate.save(workspace, [lesson(0)], [])
    adapter, _ = tune(workspace, recipe(epochs=1))
    tuned = add_assistant(workspace, index, adapter=adapter.reference)
    add_evaluation(workspace, tuned.reference, "pass")
    file = workspace.registry.folder(adapter) / "adapter_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ChecksumError, match=r"adapter_model\.safetensors of adapter/feedback@1"):
        promote(workspace, tuned.reference)
    assert in_production(workspace) == base.reference


@pytest.mark.slow
def test_whenever_a_promotion_is_killed_the_label_and_its_history_agree(workspace, base, candidate):
    add_evaluation(workspace, candidate.reference, "pass")
    both, moments = [candidate.reference, base.reference], random.Random(0)
    history = []
    for number in range(KILLS):
        with pipe() as (begun, tell):
            process = other_process(promote_for_ever, workspace.root, both, tell)
            assert begun.poll(60)
            time.sleep(moments.uniform(0.02, 0.2))
            process.kill()
            process.join()
        with Workspace(workspace.root) as after:
            history = after.registry.history("assistant", ASSISTANT)
            version = after.registry.labelled("assistant", ASSISTANT, PRODUCTION)
            assert history[-1].version == version
            assert after.registry.get(IN_PRODUCTION, verify=True).version == version
            untold = len(history) - len(after.log.find(type=PROMOTION))
            assert 0 <= untold <= number + 1  # a kill may come between the move and its event
    assert len(history) > 1 + KILLS, "the processes promoted nothing before they were killed"
