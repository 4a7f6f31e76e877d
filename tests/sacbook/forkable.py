"""A job for the tests of sacbook.forked: it tells what it was given, and ends as it is asked."""

import os
import sys
import time
from pathlib import Path

print(os.getpid(), os.getppid(), int("torch" in sys.modules), flush=True)
said = [os.environ["WORD"], Path.cwd(), *sys.argv[1:], sys.stdin.read()]
print(*said, file=sys.stderr, flush=True)
if sys.argv[1] == "wait":
    time.sleep(60)
if sys.argv[1] == "raise":
    raise ValueError("broken")
sys.exit({"text": "a sentence"}.get(sys.argv[1], 3))
