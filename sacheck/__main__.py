"""``python -m sacheck`` is the command ``sacheck``."""

from .cli import main

main()
