"""mainspring models vectors: the small classic, trained and asked."""

from pathlib import Path
from typing import Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import AsJson, Files, Settings, load_config
from mainspring.cli.texts import Paths, read_texts
from mainspring.errors import UserError

app = typer.Typer(help="Word vectors by skip-gram: train, neighbours, analogies.", no_args_is_help=True)
Folder = Annotated[Path, typer.Option("--in", help="The folder of word vectors.")]
Count = Annotated[int, typer.Option("-n", min=1, help="Words to show.")]
DEFAULT_FOLDER = Path("vectors")


@app.callback()
def vectors() -> None:
    """Word vectors by skip-gram: train, neighbours, analogies."""


@app.command("train")
def train_vectors(
    paths: Paths,
    to: Annotated[Path, typer.Option("--to", help="A new folder for the vectors.")] = DEFAULT_FOLDER,
    files: Files = None,
    settings: Settings = None,
) -> None:
    """Learn a vector for every word of documents, from the words around it."""
    from mainspring.models.vectors import VectorSettings, train
    from mainspring.progress import say
    from mainspring.tokenizer.classic import words

    config = load_config(VectorSettings, files, settings)
    if to.exists():
        raise UserError(f"{to} exists already. Name a new folder with --to, or remove it first.")
    texts = (words(line) for _, text in read_texts(paths) for line in text.splitlines())
    made = train(
        texts, config, told=lambda epoch, loss: say(f"pass {epoch}/{config.epochs}  loss {loss:.3f} a pair")
    )
    made.save(to)
    show.table([["words", len(made.words)], ["width", config.width]])
    show.end(to, to, f"models vectors near WORD --in {to}", f"models vectors analogy A B C --in {to}")


@app.command("near")
def near_words(
    word: Annotated[str, typer.Argument(help="A word.")],
    folder: Folder = DEFAULT_FOLDER,
    count: Count = 10,
    as_json: AsJson = False,
) -> None:
    """The words that are used like this one."""
    from mainspring.models.vectors import WordVectors

    _print(WordVectors.load(folder).near(word.lower(), count), as_json=as_json)


@app.command("analogy")
def analogous_words(
    a: Annotated[str, typer.Argument(help="As this word ...")],
    b: Annotated[str, typer.Argument(help="... is to this one,")],
    c: Annotated[str, typer.Argument(help="so is this one to the answer.")],
    folder: Folder = DEFAULT_FOLDER,
    count: Count = 5,
    as_json: AsJson = False,
) -> None:
    """Words that are to C as B is to A."""
    from mainspring.models.vectors import WordVectors

    _print(WordVectors.load(folder).analogy(a.lower(), b.lower(), c.lower(), count), as_json=as_json)


def _print(found: list[tuple[str, float]], *, as_json: bool) -> None:
    if as_json:
        show.result([{"word": word, "cosine": value} for word, value in found])
    else:
        show.table([[word, f"{value:.3f}"] for word, value in found], ["word", "cosine"])
