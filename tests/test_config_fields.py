"""No configuration field without a reader: what a user sets is never silently ignored."""

import ast
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "mainspring"


def nodes_of(*texts: str) -> list[ast.AST]:
    """Classes and attributes of some modules, walked once."""
    kinds = (ast.ClassDef, ast.Attribute)
    return [node for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]


def config_fields(nodes: list[ast.AST]) -> dict[str, str]:
    """Field -> "Class.field" of all classes below Config, over as many steps as it takes."""
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    known = {"Config"}
    size = 0
    while size != len(known):
        size = len(known)
        known |= {each.name for each in classes if any(_name(base) in known for base in each.bases)}
    return {
        f"{each.name}.{line.target.id}": line.target.id
        for each in classes
        if each.name in known - {"Config"}
        for line in each.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    }


def read_attributes(nodes: list[ast.AST]) -> Counter[str]:
    return Counter(
        node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    )


def _name(base: ast.expr) -> str:
    return base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""


def test_every_configuration_field_is_read_somewhere():
    nodes = nodes_of(*(path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))))
    fields, read = config_fields(nodes), read_attributes(nodes)
    assert len(fields) > 30
    unread = [place for place, field in fields.items() if not read[field]]
    assert not unread, f"set by users and read by nobody: {', '.join(unread)}"


def test_an_unread_field_would_be_found():
    nodes = nodes_of("class A(Config):\n    used: int\n    idle: int\nprint(a.used)\na.idle = 1\n")
    fields, read = config_fields(nodes), read_attributes(nodes)
    assert [place for place, field in fields.items() if not read[field]] == ["A.idle"]
