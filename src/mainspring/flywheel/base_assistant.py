"""Assistants that need no gate: the first one of a workspace, and the same one over newer documents."""

from collections.abc import Sequence

from mainspring.app import CHAT_MODEL, IN_PRODUCTION, PROMPT, AssistantSpec, Workspace
from mainspring.artifact import Artifact
from mainspring.evaluate.gold import Gold
from mainspring.knowledge.calibrate import calibrate
from mainspring.knowledge.scope import Scope
from mainspring.progress import say
from mainspring.prompts.template import GroundedPrompt

THRESHOLD = 0.6  # as calibrated on the package documentation; other documents deserve questions of their own
SAMPLING = {"max_tokens": 32, "stop": ["\n"]}  # one line is asked for; a small model rambles on behind it


def base_assistant(workspace: Workspace, index: Artifact, gold_items: Sequence[Gold]) -> Artifact:
    """The untuned model with the plain prompt over an index; saved, not promoted.

    Args:
        workspace: with the model that answers.
        index: what it answers from.
        gold_items: its threshold is calibrated on those for training whose document stands in the index.

    """
    prompt = workspace.save("prompt", PROMPT, GroundedPrompt().model_dump(mode="json"), {})
    spec = AssistantSpec(
        model=workspace.registry.get(f"model/{CHAT_MODEL}").reference,
        prompt=prompt.reference,
        index=index.reference,
        sampling=SAMPLING,
        threshold=_threshold(workspace, index, gold_items),
    )
    return workspace.save_assistant(spec)


def refresh(workspace: Workspace, index: Artifact) -> Artifact | None:
    """The assistant in production over a newer version of its index; None where it has this one."""
    spec = workspace.spec(IN_PRODUCTION)
    current = workspace.registry.get(spec.index)
    if current.name != index.name or current.version >= index.version:
        return None
    return workspace.save_assistant(spec.model_copy(update={"index": index.reference}))


def _threshold(workspace: Workspace, index: Artifact, gold_items: Sequence[Gold]) -> float:
    scope = Scope(version=index.config["version"])
    known = {document.id for document in workspace.store(index.name).documents(scope)}
    questions = [
        (item.question, item.document)
        for item in gold_items
        if item.split == "train" and item.document is not None and item.document in known
    ]
    if not questions:
        say(f"abstains below {THRESHOLD}, the default: no training questions about these documents")
        return THRESHOLD
    found = calibrate(workspace.retriever(index.name), questions, scope)
    say(
        f"abstains below {found.threshold:.3f}, calibrated on {found.questions} training questions: "
        f"{found.answered:.0%} answered with their document, {found.abstained:.0%} left unanswered without it"
    )
    return found.threshold
