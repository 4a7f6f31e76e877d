"""What is fresh is decided by content: the code that a step runs is part of its digest.

The digest of a function covers the function itself and, transitively, every top-level definition of this package that it
refers to, and nothing else: an edit of one figure touches the notebooks that draw it, an edit of the training loop touches
every model, a comment or a docstring touches nothing.
"""

import ast
from functools import cache
from pathlib import Path

from .artefacts import digest_of

PACKAGE = Path(__file__).parent
VALUES_ONLY = {"profiles", "artefacts"}
"""Modules that no digest covers: what they hand on enters every digest as values; how a file is written changes no result."""


def _without_docstrings(node: ast.AST) -> ast.AST:
    for child in ast.walk(node):
        body = getattr(child, "body", None)
        if isinstance(child, ast.FunctionDef | ast.ClassDef | ast.Module) and body:
            first = body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                child.body = body[1:] or [ast.Pass()]
    return node


def _targets(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def _imports(tree: ast.AST) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Names under which a tree knows modules of this package, and single definitions of them."""
    modules: dict[str, str] = {}
    definitions: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        source = node.module or ""
        if node.level == 1 or source.split(".")[0] == "sacutils":
            source = source.removeprefix("sacutils").removeprefix(".")
            for alias in node.names:
                if source:
                    definitions[alias.asname or alias.name] = (source, alias.name)
                elif (PACKAGE / f"{alias.name}.py").exists():
                    modules[alias.asname or alias.name] = alias.name
    return modules, definitions


@cache
def _module(name: str) -> tuple[dict[str, ast.stmt], dict[str, str], dict[str, tuple[str, str]]]:
    tree = _without_docstrings(ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8")))
    top = {target: node for node in tree.body for target in _targets(node)}  # type: ignore[attr-defined]
    return top, *_imports(tree)


def _references(node: ast.AST, module: str | None) -> set[tuple[str, str]]:
    """Definitions of this package that a piece of code refers to, as (module, name)."""
    top: dict[str, ast.stmt] = {}
    modules, definitions = _imports(node)
    if module is not None:
        top, known_modules, known_definitions = _module(module)
        modules, definitions = known_modules | modules, known_definitions | definitions
    found: set[tuple[str, str]] = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name) and child.value.id in modules:
            found.add((modules[child.value.id], child.attr))
        elif isinstance(child, ast.Name):
            if child.id in definitions:
                found.add(definitions[child.id])
            elif child.id in top and module is not None:
                found.add((module, child.id))
    return found


def closure(start: set[tuple[str, str]]) -> dict[str, str]:
    """Every definition reachable from some definitions, with its code in canonical form.

    Parameters
    ----------
    start : set of (module, name)
        Modules of this package without the prefix, for example ``("training", "train")``.

    Returns
    -------
    dict
        From ``"module.name"`` to the dump of its syntax tree, without comments, docstrings and layout.
    """
    found: dict[str, str] = {}
    todo = set(start)
    while todo:
        module, name = todo.pop()
        node = _module(module)[0].get(name)
        if module in VALUES_ONLY or f"{module}.{name}" in found or node is None:
            continue
        found[f"{module}.{name}"] = ast.dump(node)
        todo |= _references(node, module)
    return found


@cache
def code_digest(*names: str) -> str:
    """Digest of the code of some definitions (``"module.name"``) and of all that they refer to in this package."""
    return digest_of(closure({(module, name) for module, _, name in (full.partition(".") for full in names)}))


def script_digest(path: Path) -> str:
    """Digest of a script's whole text and of all definitions of this package that it refers to."""
    text = Path(path).read_text(encoding="utf-8")
    return digest_of([text, closure(_references(ast.parse(text), None))])
