"""mainspring bench: what a server stands, measured from outside."""

from pathlib import Path
from typing import Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import AsJson, Files, Settings, load_config
from mainspring.errors import MainspringError

app = typer.Typer(no_args_is_help=True, help="Measure a running server: load, latency, throughput.")


@app.callback()
def bench() -> None:
    """Measure a running server."""


@app.command("serve")
def serve(
    url: Annotated[
        str, typer.Argument(help="The server, such as http://127.0.0.1:8360; any of the OpenAI dialect.")
    ],
    model: Annotated[str, typer.Option(help="The model that is asked.")] = "smollm2",
    key: Annotated[
        str | None, typer.Option(envvar="MAINSPRING_API_KEY", help="The key that the server wants.")
    ] = None,
    config: Files = None,
    option: Settings = None,
    plot: Annotated[Path | None, typer.Option(help="Where to write a picture (PNG).")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a server as many users would, and say how it kept up.

    -o mix=chat|rag|shared-prefix, -o loop=closed -o at_once=16, -o loop=open -o rate=2.5, -o num_requests=64.
    """
    from mainspring.evaluate.load import plot as plots
    from mainspring.evaluate.load.client import Target
    from mainspring.evaluate.load.run import LoadConfig, run, summarize
    from mainspring.progress import bar

    settings = load_config(LoadConfig, config, option)
    target = Target(url=url.rstrip("/"), model=model, key=key)
    with bar(f"{settings.mix}, {settings.loop} loop", settings.num_requests, "requests") as advance:
        answers = run(target, settings, lambda: advance(1))
    summary = summarize(answers)
    if plot is not None:
        plots.draw(answers, plot, f"{model}: {settings.mix}, {settings.loop} loop")
    if as_json:
        show.result({"settings": settings.model_dump(), "summary": summary})
    else:
        show.table(
            [
                [
                    "requests",
                    f"{summary.num_requests:,}, {summary.num_failed:,} failed, in {summary.seconds:.1f} s",
                ],
                ["tokens", f"{summary.prompt_tokens:,} in prompts, {summary.completion_tokens:,} generated"],
                [
                    "throughput",
                    f"{summary.tokens_per_s:,.1f} tokens/s, {summary.requests_per_s:.2f} requests/s",
                ],
                [
                    "first token",
                    f"{_ms(summary.first_token_p50_s)} median, {_ms(summary.first_token_p99_s)} p99",
                ],
                ["between tokens", f"{_ms(summary.gap_p50_s)} median, {_ms(summary.gap_p99_s)} p99"],
                ["whole answer", f"{_ms(summary.whole_p50_s)} median, {_ms(summary.whole_p99_s)} p99"],
            ]
        )
        if plot is not None:
            print(f"\nin    {plot}")
    if summary.num_failed:
        raise MainspringError(
            f"{summary.num_failed} of {summary.num_requests} requests failed: {summary.first_error}."
        )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms"
