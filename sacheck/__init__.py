"""The owner's tool: tell by its answers whether a suspect was made from a model of one's own.

``sacheck.query(...)`` and ``sacheck.verify(...)`` do what the commands of these names do, see
:mod:`sacheck.verbs`. What strangers made (files, tables, services) is read within bounds and never
run; bad input is refused everywhere by :class:`sacutils.files.UserError`, one sentence that says
what is accepted.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .verbs import query, verify, verify_each

__all__ = ["query", "verify", "verify_each"]


def __getattr__(name: str) -> Any:
    """The verbs, loaded when they are used: a command that only helps should start at once."""
    if name in __all__:
        from . import verbs

        return getattr(verbs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
