"""mainspring tokenizer: train one, compare several, see a text as grammar sees it."""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, load_config, open_workspace
from mainspring.cli.texts import Paths, read_texts
from mainspring.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mainspring.tokenizer.base import Tokenizer
    from mainspring.tokenizer.compare import Measured
    from mainspring.train.vocabularies import Lost

app = typer.Typer(help="Train and compare tokenizers; see a text as grammar sees it.", no_args_is_help=True)
HELD_OUT_EVERY = 10  # one text in so many is kept for measuring


@app.callback()
def tokenizer() -> None:
    """Train and compare tokenizers; see a text as grammar sees it."""


@app.command("train")
def train_tokenizer(
    paths: Paths,
    name: Annotated[str, typer.Option("--name", help="What the artifact is called.")] = "own",
    files: Files = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Learn a vocabulary from documents; it becomes the artifact tokenizer/NAME."""
    from mainspring import artifact as artifacts
    from mainspring.tokenizer.train import TokenizerSettings, train

    config = load_config(TokenizerSettings, files, settings)
    with open_workspace(workspace, begin=True) as opened:
        trained = train((text for _, text in read_texts(paths)), config)
        told = {**config.model_dump(mode="json"), "tokenizer": trained.fingerprint}
        made = opened.registry.add(
            artifacts.write(opened.registry.root, "tokenizer", name, trained.save, config=told)
        )
        folder = opened.registry.folder(made)
    facts = {"tokenizer": made.reference, "ids": trained.vocab_size, "special": ", ".join(trained.special)}
    if as_json:
        show.result({**facts, "folder": folder})
        return
    show.table(list(facts.items()))
    show.end(workspace, folder, "tokenizer compare PATH", f'tokenizer classic "TEXT" --with {made.reference}')


@app.command("compare")
def compare_tokenizers(
    paths: Paths,
    sizes: Annotated[
        str, typer.Option("--sizes", help="Vocabulary sizes to train, separated by commas.")
    ] = "1024,2048,4096",
    kinds: Annotated[str, typer.Option("--kinds", help="Kinds to train: bpe, wordpiece, unigram.")] = "bpe",
    others: Annotated[
        list[str] | None,
        typer.Option("--with", help="A tokenizer or model, or a folder, beside them."),
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="A PNG file of the comparison.")] = None,
    with_loss: Annotated[
        bool, typer.Option("--loss", help="Train a small model with each, and tell its bits a held-out byte.")
    ] = False,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Bytes per token, tokens per word by language, and encoding speed, on texts kept from training.

    With --loss also what a small model loses; -o steps=400 and the like say how it is trained.
    """
    if settings and not with_loss:
        raise UserError("-o says how the small models of --loss are trained. Give --loss, or leave -o out.")
    from mainspring.tokenizer import compare
    from mainspring.tokenizer.train import TokenizerSettings, train

    texts = list(read_texts(paths))
    learnt = [text for number, (_, text) in enumerate(texts) if number % HELD_OUT_EVERY]
    held_out: dict[str, list[str]] = defaultdict(list)
    for language, text in texts[::HELD_OUT_EVERY]:
        held_out[language].append(text)
    made = {
        f"{kind} {size}": train(
            learnt, load_config(TokenizerSettings, None, [f"kind={kind}", f"vocab_size={size}"])
        )
        for kind in kinds.split(",")
        for size in _numbers(sizes)
    }
    made |= {other: _find(other, workspace) for other in others or ()}
    rows = [compare.measure(name, each, held_out) for name, each in made.items()]
    lost = _losses(made, learnt, held_out, settings) if with_loss else {}
    if plot is not None:
        compare.plot(rows, plot)
    if as_json:
        show.result([msgspec.to_builtins(row) | _facts(lost.get(row.name)) for row in rows])
        return
    _print_compared(rows, lost)
    if plot is not None:
        show.end(workspace, plot, "tokenizer train PATH -o vocab_size=N")


def _losses(
    made: "Mapping[str, Tokenizer]",
    learnt: "Sequence[str]",
    held_out: "Mapping[str, Sequence[str]]",
    settings: list[str] | None,
) -> "dict[str, Lost]":
    """What a small model with each vocabulary loses."""
    from mainspring.progress import say
    from mainspring.train.vocabularies import VocabularyLoss, lose

    config, lost = load_config(VocabularyLoss, None, settings), {}
    texts = [text for each in held_out.values() for text in each]
    for name, each in made.items():
        say(f"a small model with {name}")
        lost[name] = lose(each, learnt, texts, config)
    return lost


def _facts(lost: "Lost | None") -> "dict[str, object]":
    return {} if lost is None else msgspec.to_builtins(lost)


def _print_compared(rows: "Sequence[Measured]", lost: "Mapping[str, Lost]") -> None:
    heads = ["tokenizer", "ids", "bytes/token", "tokens/word", "MB/s"]
    heads += ["bits/byte", "parameters"] if lost else []
    table: list[list[object]] = []
    for row in rows:
        fertility = ", ".join(f"{language} {value:.2f}" for language, value in row.fertility.items())
        cells: list[object] = [
            row.name, row.vocab_size, f"{row.bytes_per_token:.2f}", fertility, f"{row.mb_per_s:.1f}"
        ]  # fmt: skip
        if (found := lost.get(row.name)) is not None:
            cells += [
                f"{found.bits_per_byte:.3f}{'' if found.is_lossless else ' (loses text)'}",
                found.parameters,
            ]
        table.append(cells)
    show.table(table, heads)


@app.command("classic")
def classic_view(
    text: Annotated[str, typer.Argument(help="An English text.")],
    which: Annotated[str, typer.Option("--with", help="A tokenizer, a model or a folder.")] = "smollm2",
    corpus: Annotated[
        list[Path] | None, typer.Option("--corpus", help="Documents that words are weighed against.")
    ] = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """A text's tokens beside its words: weights over a corpus, tags, dependency tree, named entities."""
    from mainspring.tokenizer.classic import TfIdf, parse, tree

    found = parse(text, _find(which, workspace))
    weights = TfIdf(each for _, each in read_texts(corpus)).weights(text) if corpus else {}
    if as_json:
        show.result({"words": found, "tree": tree(found), "weights": weights})
        return
    show.table(
        [
            [
                word.text, word.lemma, word.part, word.relation, found[word.head].text, word.entity or "-",
                f"{weights[word.text.lower()]:.3f}" if word.text.lower() in weights else "-",
                " ".join(map(str, word.ids)),
            ]
            for word in found
        ],
        ["word", "lemma", "part", "relation", "to", "entity", "weight", "ids"],
    )  # fmt: skip
    print()
    print("\n".join(tree(found)))


def _find(which: str, workspace: Path) -> "Tokenizer":
    from mainspring.tokenizer.base import Tokenizer

    if Path(which).is_dir():
        return Tokenizer.load(Path(which))
    with open_workspace(workspace) as opened:
        registry = opened.registry
        for reference in (which,) if "/" in which else (f"tokenizer/{which}", f"model/{which}"):
            if registry.has(reference):
                return Tokenizer.load(registry.folder(registry.get(reference)))
        there = [*registry.list("tokenizer"), *registry.list("model")]
    raise UserError(f"There is no tokenizer '{which}'; there is {', '.join(there) or 'none'}.")


def _numbers(sizes: str) -> list[int]:
    try:
        return [int(size) for size in sizes.split(",")]
    except ValueError:
        raise UserError(f"--sizes is '{sizes}'; write whole numbers: --sizes 1024,4096.") from None
