"""A configuration as one SVG: what a token goes through, from the embedding up to the head.

Layers that are alike and follow each other in the same pattern are drawn once, with their count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mainspring.models.config import (
    AttentionSpec,
    BlockSpec,
    FfnSpec,
    HeadSpec,
    LatentSpec,
    MixerSpec,
    ModelConfig,
    MoeSpec,
    NormSpec,
    StackSpec,
)

WIDTH, HEIGHT, GAP, MARGIN = 300, 34, 10, 24
COLORS = {"edge": "#e8eef7", "norm": "#f4f1e6", "mixer": "#dcead9", "cross": "#e3dcec", "ffn": "#f7e3d4"}


@dataclass(frozen=True, slots=True)
class Box:
    """A part: its kind, which gives the color, and what is written in it."""

    kind: str
    text: str

    @property
    def rows(self) -> int:
        return 1


@dataclass(frozen=True, slots=True)
class Group:
    """Layers from the bottom up, and how often they are repeated."""

    count: int
    boxes: list[Box]

    @property
    def rows(self) -> int:
        return len(self.boxes)


Column = list[Box | Group]


def draw(config: ModelConfig) -> str:
    """The SVG of a model; an encoder stands on the left of its decoder."""
    columns = [_column(config, config.width, _head(config.head), f"{config.vocab_size:,} tokens")]
    if config.encoder is not None:
        columns.insert(0, _column(config.encoder, config.width, None, "the source"))
    height = max(_height(column) for column in columns) + 2 * MARGIN + 30
    width = len(columns) * (WIDTH + 4 * MARGIN)
    title = f"{config.family}: width {config.width:,}, context {config.context:,}"
    body = [f'<text x="{MARGIN}" y="{MARGIN}" class="t">{escape(title)}</text>']
    for number, column in enumerate(columns):
        body += _draw_column(column, MARGIN + number * (WIDTH + 4 * MARGIN), height - MARGIN)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">'
        "<style>.t{font-weight:bold}.n{fill:#666}</style>"
        f'<rect width="{width}" height="{height}" fill="white"/>{"".join(body)}</svg>\n'
    )


def _column(stack: StackSpec, width: int, head: Box | None, what: str) -> Column:
    """From the bottom up."""
    boxes: Column = [Box("edge", f"embedding of {what}: {width:,}")]
    if stack.positions is not None:
        boxes.append(Box("edge", f"+ {stack.positions.kind} positions: {stack.positions.size:,}"))
    if stack.num_token_types:
        boxes.append(Box("edge", f"+ types: {stack.num_token_types}"))
    if stack.embedding_norm is not None:
        boxes.append(Box("norm", _norm(stack.embedding_norm)))
    boxes += [
        Group(count, [box for block in period for box in _layer(block)])
        for count, period in periods(stack.blocks)
    ]
    if stack.final_norm is not None:
        boxes.append(Box("norm", _norm(stack.final_norm)))
    return [*boxes, head] if head else boxes


def periods(blocks: Sequence[BlockSpec]) -> list[tuple[int, list[BlockSpec]]]:
    """Runs of repeated patterns, such as 4 x (five local layers, one full one); the longest cover wins."""
    found: list[tuple[int, list[BlockSpec]]] = []
    start = 0
    while start < len(blocks):
        best = (1, 1)
        for size in range(1, min(8, len(blocks) - start) + 1):
            pattern, count = blocks[start : start + size], 1
            while tuple(blocks[start + count * size : start + (count + 1) * size]) == tuple(pattern):
                count += 1
            if (count > 1 or size == 1) and count * size > best[0] * best[1]:
                best = (count, size)
        found.append((best[0], list(blocks[start : start + best[1]])))
        start += best[0] * best[1]
    return found


def _layer(block: BlockSpec) -> list[Box]:
    norm: list[Box] = [Box("norm", _norm(block.norm))]
    before = norm if block.norm_place in ("before", "around") else []
    behind = norm if block.norm_place in ("behind", "around") else []
    first = before if block.has_mixer_norm else []
    boxes: list[Box] = [*first, Box("mixer", _mixer(block.mixer)), *behind]
    if block.cross is not None:
        boxes += [*before, Box("cross", f"cross attention: {block.cross.num_heads} heads"), *behind]
    if block.ffn is not None:
        boxes += [*before, Box("ffn", _ffn(block.ffn)), *behind]
    return boxes


def _mixer(mixer: MixerSpec) -> str:
    if isinstance(mixer, LatentSpec):
        return (
            f"latent attention {mixer.num_heads} x {mixer.plain_size + mixer.rope_size}, {mixer.kv_rank} kept"
        )
    if not isinstance(mixer, AttentionSpec):
        return mixer.summary
    heads = f"{mixer.num_heads} x {mixer.head_size}"
    shared = "" if mixer.num_kv_heads == mixer.num_heads else f", {mixer.num_kv_heads} kv"
    window = "" if mixer.window is None else f", window {mixer.window:,}"
    rope = "" if mixer.rope is None else f", rope {mixer.rope.theta:g}"
    return f"{'gated ' if mixer.has_gate else ''}attention {heads}{shared}{window}{rope}"


def _ffn(ffn: FfnSpec | MoeSpec) -> str:
    if isinstance(ffn, MoeSpec):
        shared = "" if ffn.shared is None else f" + {ffn.shared.hidden:,}"
        return f"{ffn.num_chosen} of {ffn.num_experts} experts: {ffn.expert.hidden:,}{shared}"
    return f"{ffn.activation} {'gated ' if ffn.kind == 'glu' else ''}feed-forward: {ffn.hidden:,}"


def _norm(norm: NormSpec) -> str:
    return {"rms": "RMS norm", "layer": "layer norm"}[norm.kind]


def _head(head: HeadSpec | None) -> Box | None:
    if head is None:
        return None
    kinds = {
        "lm": "next token", "masked": "masked token", "classify": f"{head.num_labels} labels of a text",
        "classify_tokens": f"{head.num_labels} labels of a token",
    }  # fmt: skip
    return Box("edge", f"head: {kinds[head.kind]}{', tied' if head.tied else ''}")


def _height(column: Column) -> int:
    return sum(entry.rows * (HEIGHT + GAP) + (2 * GAP if isinstance(entry, Group) else 0) for entry in column)


def _draw_column(column: Column, x: int, bottom: int) -> list[str]:
    out: list[str] = []
    y = bottom
    for entry in column:
        if isinstance(entry, Box):
            y -= HEIGHT
            out.append(_draw_box(x + 16, y, entry))
            y -= GAP
            continue
        top = y - entry.rows * (HEIGHT + GAP) - GAP
        out.append(
            f'<rect x="{x}" y="{top}" width="{WIDTH + 32}" height="{y - top}" rx="8" fill="none" stroke="#999"/>'
            f'<text x="{x + WIDTH + 42}" y="{top + 16}" class="n">× {entry.count}</text>'
        )
        y -= GAP
        for box in entry.boxes:
            y -= HEIGHT
            out.append(_draw_box(x + 16, y, box))
            y -= GAP
        y = top - GAP
    return out


def _draw_box(x: int, y: int, box: Box) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5" fill="{COLORS[box.kind]}" stroke="#777"/>'
        f'<text x="{x + WIDTH // 2}" y="{y + 22}" text-anchor="middle">{escape(box.text)}</text>'
    )
