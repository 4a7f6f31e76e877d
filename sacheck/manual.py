"""The page of the book about the command, made from the command itself:
``python -m sacheck.manual > book/command.md``.
"""

import json
import re

from typer.testing import CliRunner

from . import case, cli, description, verdict

HEAD = """# The command sacheck

**The answer in short.** The verbs of `sacheck` are {verbs}. They read files and folders and write
new ones, never over old ones; only `query --url` uses the network. A verdict is an exit code too.

```{{admonition}} What you will learn
:class: tip
Every option of every verb, the services that are known by name, how to describe another, and what
the file of a verdict holds. {{doc}}`17_own_model` shows them in use.
```

This page is made from the code of the command.

"""
PYTHON = """## The same from Python

`sacheck.query` and `sacheck.verify` take what the verbs take. So do `sacheck.verbs.fingerprint` and
`sacheck.verbs.enrol`; the short names belong to modules. See {py:mod}`sacheck.verbs`. They raise
{py:class}`sacutils.files.UserError` where the verbs end with exit code 1.

```python
import sacheck

sacheck.query("fp", "suspect.json", model="suspect.onnx")
judged = sacheck.verify("fp", "suspect.json", control=["controls"], out="verdict.json")
print(judged.verdict.verdict, judged.verdict.p)
```

"""
COMPLETION = """## Completion in the shell

`sacheck --install-completion` adds it to the start file of your shell, and
`sacheck --show-completion` prints what it would add.

"""
SERVICES = """## Services known by name

The name goes after `--service`. Each is tested against a mimic of the documented shapes; a server
may be set up in another way, so begin with `--try-one`. Words in capitals in an address are yours.

"""
FIELDS = """## Describing another service

A description is a file of YAML with some of these fields. With `base: NAME` it begins with one that
is known by name, and only says what differs:

```yaml
base: kserve
extra: {inputs: [{name: pixel_values, datatype: FP32, shape: $shape}]}
mean: [0.485, 0.456, 0.406]
std: [0.229, 0.224, 0.225]
classes: {n02123045: tabby}
```

"""
VERDICT = """## What the file of a verdict holds

`verify --out` writes JSON that follows this schema ({py:func}`sacheck.case.schema`).

"""


def page() -> str:
    """The whole page, as MyST Markdown."""
    names = [command.name or command.callback.__name__ for command in cli.app.registered_commands]
    quoted = [f"`{name}`" for name in names]
    listed = ", ".join(quoted[:-1]) + f" and {quoted[-1]}"
    parts = [HEAD.format(verbs=listed)]
    for name in ("", *names):
        title = f"sacheck {name}".strip()
        parts.append(f"## {title}\n\n```text\n{_help(*name.split())}\n```\n\n")
    schema = json.dumps(case.schema(), indent=1)
    parts += [_exit_codes(), PYTHON, COMPLETION, SERVICES, _folded("The services", _services())]
    parts += [FIELDS, _folded("All fields", _fields())]
    parts += [VERDICT, _folded("The schema", f"```json\n{schema}\n```")]
    return "".join(parts).rstrip() + "\n"


def _folded(title: str, text: str) -> str:
    return f":::{{dropdown}} {title}\n{text.rstrip()}\n:::\n\n"


def _help(*name: str) -> str:
    """What ``sacheck NAME --help`` prints, 88 columns wide wherever it is called."""
    settings = {"prog_name": "sacheck", "terminal_width": 88, "max_content_width": 88}
    lines = CliRunner().invoke(cli.app, [*name, "--help"], **settings).output.strip().splitlines()
    return "\n".join(line.rstrip() for line in lines)


def _exit_codes() -> str:
    codes = {0: "done", 1: "bad input, told in one sentence", 2: "wrong use of the command line"}
    for name, code in verdict.EXIT_CODES.items():
        codes[code] = f"{codes[code]}; of `verify`: *{name}*" if code in codes else f"*{name}*"
    rows = "".join(f"| {code} | {told} |\n" for code, told in sorted(codes.items()))
    return f"## Exit codes\n\n| code | meaning |\n| --- | --- |\n{rows}\n"


def _services() -> str:
    return "".join(
        f"`{name}`\n: {each['about']}.<br>`{each['address']}`\n\n"
        for name, each in description.ready_made().items()
    )


def _fields() -> str:
    text = ""
    for name, field in description.Service.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = f", `{json.dumps(default)}` if not given" if default is not None else ""
        told = _markdown(" ".join((field.description or "").split()))
        text += f"`{name}`{shown}\n: {told}\n\n"
    return text


def _markdown(text: str) -> str:
    """Text of a docstring as Markdown: names in one pair of backticks."""
    return re.sub(r"``(.+?)``", r"`\1`", text)


if __name__ == "__main__":
    print(page(), end="")
