"""What is fresh is decided by content: the code that a step runs is part of its digest.

The digest of a function covers the function itself and, transitively, every top-level definition
of this project's packages that it refers to: an edit of the training loop touches every model, a
comment, a docstring or an annotation touches nothing. Code is named by module and definition, the
module without the prefix ``sacutils.``: ``"training.train"``, ``"sacbook.pages.execute"``.
"""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from .files import digest_of

FOLDER = Path(__file__).parent.parent
"""Holds the packages: the repository, or site-packages."""
PACKAGES = ("sacutils", "sacbook", "sacheck")
VALUES_ONLY = {"sacutils.profiles", "sacutils.files", "sacutils.freshness", "sacutils.checkpoints"}
"""Modules that no digest covers: what they hand on enters every digest as values; how a file is
written changes no result."""
OWN_DIGEST = {"sacutils.zoo.Zoo", "sacutils.zoo.load_material"}
"""Models and images have digests of their own, which cover how they are made and enter those of
all that uses them: other digests do not follow these names."""

Name = tuple[str, str]


def _plain(tree: ast.AST) -> ast.AST:
    """A tree without docstrings, annotations, and statements that keep an unfinished training."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(getattr(node, "body", None), list):
            node.body = [part for part in node.body if not _idle(part)] or [ast.Pass()]
    return tree


def _idle(node: ast.stmt) -> bool:
    """Whether a statement is a text, or only calls :mod:`sacutils.checkpoints`, which changes no
    result.
    """
    if not isinstance(node, ast.Expr):
        return False
    text = isinstance(getattr(node.value, "value", None), str)
    return text or ast.unparse(node).startswith("checkpoints.")


def _targets(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    parts = [part for target in filter(None, targets) for part in ast.walk(target)]
    return [part.id for part in parts if isinstance(part, ast.Name)]


def _path(module: str) -> Path | None:
    """The file of a module of this project, or None."""
    if module.split(".")[0] not in PACKAGES:
        return None
    stem = FOLDER / module.replace(".", "/")
    return next(filter(Path.is_file, (stem.with_suffix(".py"), stem / "__init__.py")), None)


def _imports(
    nodes: Iterable[ast.AST], module: str | None
) -> tuple[dict[str, str], dict[str, Name]]:
    """Names under which code knows modules of this project, and single definitions of them."""
    modules: dict[str, str] = {}
    definitions: dict[str, Name] = {}
    path = _path(module) if module else None
    for node in nodes:
        if not isinstance(node, ast.ImportFrom):
            continue
        origin = node.module or ""
        if node.level and path is not None:
            folder = path.parents[node.level - 1].relative_to(FOLDER)
            origin = ".".join([*folder.parts, *filter(None, [origin])])
        if _path(origin) is None:
            continue
        for alias in node.names:
            known, full = alias.asname or alias.name, f"{origin}.{alias.name}"
            if _path(full) is not None:
                modules[known] = full
            else:
                definitions[known] = (origin, alias.name)
    return modules, definitions


@cache
def _module(name: str) -> tuple[dict[str, ast.AST], dict[str, str], dict[str, Name]]:
    if (path := _path(name)) is None:
        return {}, {}, {}
    tree = _plain(ast.parse(path.read_text(encoding="utf-8")))
    found: dict[str, list[ast.stmt]] = {}
    for node in tree.body:  # type: ignore[attr-defined]
        for target in _targets(node):
            found.setdefault(target, []).append(node)
    # a name that is bound in several steps stands for all of them
    top = {n: part[0] if len(part) == 1 else ast.Module(part, []) for n, part in found.items()}
    return top, *_imports(ast.walk(tree), name)


@cache
def _references(node: ast.AST, module: str | None) -> set[Name]:
    """Definitions of this project that a piece of code refers to, as (module, name)."""
    nodes = list(ast.walk(node))
    modules, definitions = _imports(nodes, module)
    top, known_modules, known_definitions = _module(module or "")
    modules, definitions = known_modules | modules, known_definitions | definitions
    found: set[Name] = set()
    for child in nodes:
        if isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name):
            if child.value.id in modules:
                found.add((modules[child.value.id], child.attr))
        elif isinstance(child, ast.Name):
            if child.id in definitions:
                found.add(definitions[child.id])
            elif child.id in top:
                found.add((str(module), child.id))
    return found


_dump = cache(ast.dump)


def closure(start: set[Name], whole: bool = False) -> dict[str, str]:
    """Every definition reachable from some, as ``("sacutils.training", "train")``: from
    ``"module.name"`` to the dump of its syntax tree, without comments, docstrings, annotations and
    layout. A name that a module only imports stands for the definition that it imports; `whole`
    follows `OWN_DIGEST` too.
    """
    found: dict[str, str] = {}
    todo = set(start)
    while todo:
        module, name = todo.pop()
        top, _, definitions = _module(module)
        if name not in top and name in definitions:
            todo.add(definitions[name])
        if module in VALUES_ONLY or name not in top or f"{module}.{name}" in found:
            continue
        found[f"{module}.{name}"] = _dump(top[name])
        if whole or f"{module}.{name}" not in OWN_DIGEST:
            todo |= _references(top[name], module)
    return found


def _name(full: str) -> Name:
    module, _, name = full.rpartition(".")
    return (module if module.split(".")[0] in PACKAGES else f"sacutils.{module}"), name


@cache
def code_digest(*names: str, whole: bool = False) -> str:
    """Digest of the code of some definitions and of all that they refer to, see :func:`closure`; a
    ``KeyError`` if there is none, for a misspelt name must not pass for code that never changes.
    """
    found = closure({_name(full) for full in names}, whole)
    for module, name in map(_name, names):
        if f"{module}.{name}" not in found:
            raise KeyError(f"{module} has no definition {name}")
    return digest_of(found)


def script_closure(path: Path) -> dict[str, str]:
    """Every definition of this project that a script refers to, see :func:`closure`."""
    return closure(_references(ast.parse(Path(path).read_text(encoding="utf-8")), None))
