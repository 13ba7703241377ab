"""mainspring data: sources to datasets, and a look into them. One module a command."""

import typer

from mainspring.cli import data_build, data_classifier, data_peek, data_shard

app = typer.Typer(help="Turn documents into datasets, and look into them.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Turn documents into datasets, and look into them."""


app.command("build")(data_build.build)
app.command("peek")(data_peek.peek)
app.command("classifier")(data_classifier.classifier)
app.command("shard")(data_shard.shard)
