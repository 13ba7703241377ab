"""What answers in production: one label, moved only past the gate, back at any time."""

from mainspring.app import ASSISTANT, IN_PRODUCTION, PRODUCTION, Workspace
from mainspring.artifact import Artifact
from mainspring.errors import GateRefusedError, UserError
from mainspring.events import Event
from mainspring.flywheel.judge import passing_evaluation

PROMOTION = "promotion"


def promote(workspace: Workspace, reference: str) -> str:
    """Let an assistant answer in production; running servers take it for new requests.

    The first assistant passes because there is nothing to compare it with, one that has been in production
    before passes because it did then, and the one in production passes over a newer index, because documents
    are not what the gate judges; any other needs an evaluation in which it passed.

    Returns:
        Why it was let pass.

    Raises:
        GateRefusedError: no evaluation in which it passed.
        UserError: what is not a version of the assistant that answers in production.
        ChecksumError: a file of the assistant, its model or its adapter is not the one written.

    """
    artifact = workspace.registry.get(reference, verify=True)
    if (artifact.kind, artifact.name) != ("assistant", ASSISTANT):
        raise UserError(
            f"{artifact.reference} cannot answer in production; only versions of assistant/{ASSISTANT} can."
        )
    for parent in artifact.parents.values():
        workspace.registry.get(parent, verify=True)
    reason = _reason(workspace, artifact)
    workspace.registry.label(artifact, PRODUCTION, reason)
    workspace.log.append(
        Event(type=PROMOTION, subject=artifact.reference, data={"label": PRODUCTION, "reason": reason})
    )
    return reason


def rollback(workspace: Workspace) -> str:
    """Back to the version that was in production before this one; returns its reference.

    Raises:
        GateRefusedError: there was none before.

    """
    versions = [
        move.version
        for move in workspace.registry.history("assistant", ASSISTANT)
        if move.label == PRODUCTION
    ]
    earlier = [version for version in versions if versions and version != versions[-1]]
    if not earlier:
        raise GateRefusedError("There is no earlier version in production to go back to.")
    reference = f"assistant/{ASSISTANT}@{earlier[-1]}"
    promote(workspace, reference)
    return reference


def _reason(workspace: Workspace, artifact: Artifact) -> str:
    history = [
        move for move in workspace.registry.history("assistant", artifact.name) if move.label == PRODUCTION
    ]
    if not history:
        return "the first assistant: nothing to compare it with"
    if any(move.version == artifact.version for move in history):
        return "was in production before"
    if _is_same_but_newer_index(workspace, artifact):
        return "the same assistant with a newer index"
    evaluation = passing_evaluation(workspace, artifact.reference)
    if evaluation is None:
        raise GateRefusedError(
            f"{artifact.reference} has not passed the gate. Run `mainspring gate {artifact.reference}`; "
            "what it must be better than is in production now."
        )
    return f"passed the gate in {evaluation.reference}"


def _is_same_but_newer_index(workspace: Workspace, artifact: Artifact) -> bool:
    wanted, now = workspace.spec(artifact.reference), workspace.spec(IN_PRODUCTION)
    after, before = workspace.registry.get(wanted.index), workspace.registry.get(now.index)
    is_newer = after.name == before.name and after.version > before.version
    return is_newer and wanted.model_copy(update={"index": now.index}) == now
