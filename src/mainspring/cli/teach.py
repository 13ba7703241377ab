"""mainspring teach: a teacher's answers to prompts, as lessons for another model."""

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, load_config, open_workspace
from mainspring.cli.constitution import Resume, check_usage, tell_dropped


def teach(
    files: Files = None,
    settings: Settings = None,
    resume: Resume = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Let a model answer prompts, and keep its answers as lessons for another."""
    check_usage(files, settings, resume)
    from mainspring.train.taught import TeachConfig
    from mainspring.train.taught import teach as run_teacher

    config = None if resume else load_config(TeachConfig, files, settings)
    with open_workspace(workspace) as opened:
        made, run, dropped = run_teacher(
            opened.registry, opened.runs, config, opened.chat_model, resume=resume
        )
        folder = opened.registry.folder(made)
    lessons = made.config["lessons"]
    if as_json:
        show.result(
            {
                "dataset": made.reference,
                "lessons": lessons,
                "run": run.id,
                "dropped": dropped,
                "folder": folder,
            }
        )
        return
    show.table([["dataset", made.reference], ["lessons", lessons]])
    tell_dropped(dropped)
    show.end(workspace, folder, f"train sft -o data.dataset={made.reference}")
