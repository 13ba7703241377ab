"""Answers and decisions as a person reads them."""

from mainspring.demo.server import Asked
from mainspring.evaluate.gate import GateReport
from mainspring.progress import say


def show(asked: Asked) -> None:
    """An answer with the stored text behind it."""
    say(f"\n     > {asked.question}")
    say(f"       {asked.text}   ({asked.answer['kind']})")
    for citation in asked.answer["citations"]:
        quote = " ".join(citation["quote"].split())
        place = f"{citation['title']}, characters {citation['start']:,}-{citation['end']:,}"
        say(f"       [{citation['number']}] \u201c{quote}\u201d  {place}")


def show_gate(gate: GateReport, nll: dict[str, float]) -> None:
    """The gate's decision and what it rests on."""
    say(f"     {gate.metric} of generated answers to {gate.num_items} held-out questions: base {gate.before:.3f}, "
        f"base with examples {gate.few_shot:.3f}, tuned {gate.after:.3f}")  # fmt: skip
    p_values = ", ".join(f"{name} {value:.4f}" for name, value in gate.p_values.items())
    say(f"     one-sided paired bootstrap, p against: {p_values} (alpha {gate.alpha})")
    left = ", ".join(f"{name} {part:.0%}" for name, part in gate.abstention.items())
    say(f"     unanswerable questions left unanswered: {left}")
    say(
        f"     mean NLL of gold answers: {', '.join(f'{name} {value:.3f}' for name, value in nll.items())} nats/token"
    )
    say(f"     the gate says: {gate.decision}" + "".join(f"\n       {reason}" for reason in gate.reasons))
    say("     what was learnt is the wanted form of an answer, not new knowledge: all read the same passages")
