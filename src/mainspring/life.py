"""The order of the stages, written once; folders, commands and guide pages are tested against it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A room: its folder, what it is for, and the commands that lead into it."""

    room: str
    purpose: str
    commands: tuple[str, ...]


STAGES = (
    Stage(
        room="data", purpose="sources to clean, deduplicated datasets and token shards", commands=("data",)
    ),
    Stage(room="tokenizer", purpose="text to token ids and back; trained, compared", commands=("tokenizer",)),
    Stage(
        room="models",
        purpose="architectures from parts, weights from published files",
        commands=("fetch", "models"),
    ),
    Stage(
        room="train",
        purpose="one loop over batches, objectives and state",
        commands=("train", "tune", "scale", "teach", "constitution", "runs"),
    ),
    Stage(room="adapt", purpose="small trainable rewrites of a model", commands=("merge",)),
    Stage(
        room="infer", purpose="the engine: batched, paged, exactly repeatable", commands=("parity", "replay")
    ),
    Stage(room="gateway", purpose="one pipeline for every request", commands=("trace",)),
    Stage(room="serve", purpose="the HTTP door and the chat page", commands=("serve", "bench")),
    Stage(
        room="knowledge", purpose="documents to chunks, search and cited answers", commands=("index", "ask")
    ),
    Stage(room="prompts", purpose="what the model is told, with examples", commands=("prompt",)),
    Stage(
        room="evaluate", purpose="metrics, paired comparison, gates", commands=("eval", "calibrate", "gate")
    ),
    Stage(room="observe", purpose="what users say of answers", commands=()),
    Stage(room="flywheel", purpose="feedback to the next promoted version", commands=("flywheel", "promote")),
)
