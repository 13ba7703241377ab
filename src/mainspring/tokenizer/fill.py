"""Fill in the middle: what a model that was trained for it is shown, so that it writes what stands in a gap.

    opening ids | before | prompt | between | suffix | behind -> the middle, until one of `ends`

Paper: Bavarian et al. 2022, arXiv:2207.14255, section 3 (PSM, and SPM where the suffix comes first). The tokens
are those of the published models, told apart by their names alone: a model that has the tokens is taken to know
what they are for. Texts are encoded one by one, and special tokens are put between their ids, so that no text
forges one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mainspring.errors import ConfigError

if TYPE_CHECKING:
    from mainspring.tokenizer.base import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The special tokens of some models: three around prompt and suffix, `behind` "" for none.

    Any of them ends a middle, as do `ends`, besides the model's own end: it was trained on files and, in places,
    on several in a row, so that what follows a middle is the next file.
    """

    before: str
    between: str
    behind: str = ""
    is_suffix_first: bool = False
    ends: tuple[str, ...] = ()

    @property
    def marks(self) -> tuple[str, ...]:
        return tuple(each for each in (self.before, self.between, self.behind) if each)


FORMS = (
    # StarCoder, StarCoder2, Granite
    Form(
        before="<fim_prefix>", between="<fim_suffix>", behind="<fim_middle>",
        ends=("<|endoftext|>", "<fim_pad>", "<file_sep>", "<repo_name>"),
    ),
    # Qwen2.5-Coder and CodeGemma, whose separator of files has another name
    Form(
        before="<|fim_prefix|>", between="<|fim_suffix|>", behind="<|fim_middle|>",
        ends=("<|endoftext|>", "<|fim_pad|>", "<|file_sep|>", "<|repo_name|>", "<|file_separator|>"),
    ),
    # DeepSeek-Coder, whose bars and blocks are no ASCII
    Form(
        before="<\uff5cfim\u2581begin\uff5c>", between="<\uff5cfim\u2581hole\uff5c>",
        behind="<\uff5cfim\u2581end\uff5c>",
    ),
    # Code Llama
    Form(before="▁<PRE>", between="▁<SUF>", behind="▁<MID>", ends=("▁<EOT>",)),
    # Codestral
    Form(before="[SUFFIX]", between="[PREFIX]", is_suffix_first=True),
)  # fmt: skip
NAMES = frozenset(name for form in FORMS for name in (*form.marks, *form.ends))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """`ids` are what a model is shown, of which `own` are the prompt's; `end_ids` end its reply as its own end does."""

    ids: Sequence[int]
    own: slice = field(default_factory=lambda: slice(None))
    end_ids: tuple[int, ...] = ()


def fill(tokenizer: "Tokenizer", prompt: str | Sequence[int], suffix: str) -> Shown:
    """What a model is shown to write what stands between prompt and suffix.

    Opening ids come first of all; those with which a prompt of ids begins are these, moved.

    Raises:
        ConfigError: the tokenizer has none of the tokens for it.

    """
    special, opening = tokenizer.special, tokenizer.opening_ids
    form = next((each for each in FORMS if set(each.marks) <= special.keys()), None)
    if form is None:
        known = ", or ".join(" ".join(each.marks) for each in FORMS)
        raise ConfigError(
            "`suffix` is given, and this model fills no gaps: its tokenizer has none of the special tokens for it, "
            f"which are {known}. Leave it out, or ask a model that was trained to."
        )
    own = tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
    if opening and not isinstance(prompt, str) and own[: len(opening)] == opening:
        own = own[len(opening) :]
    rest, behind = tokenizer.encode_on(suffix), [special[form.behind]] if form.behind else []
    first, second = (rest, own) if form.is_suffix_first else (own, rest)
    head = [*opening, special[form.before]]
    start = len(head) + (len(first) + 1 if form.is_suffix_first else 0)
    return Shown(
        ids=[*head, *first, special[form.between], *second, *behind], own=slice(start, start + len(own)),
        end_ids=tuple(special[name] for name in (*form.marks, *form.ends) if name in special),
    )  # fmt: skip
