"""One zip that reads without a network: book, PDF, lab pack, hand-outs, slides."""

from html import escape
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from sacutils.files import UserError, atomic_path

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>SAC companion, offline</title>
<link rel="icon" href="book/_static/favicon.svg">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1.1rem/1.6 system-ui, sans-serif; margin: 10vh auto; max-width: 40rem; }}
main {{ padding: 0 1.5rem; }}
</style>
</head>
<body><main><h1>SAC companion</h1>
<p>Everything here reads without a network. Unpack the whole archive first.</p>
<ul>
{items}
</ul></main></body>
</html>
"""


def pack(parts: dict[str, tuple[Path, str]], target: Path) -> None:
    """Write the zip, with a first page that leads to its parts.

    `parts` are what the archive holds, by name in it: where each lies, a file or a folder, and what
    the first page says of it; a part of another one is only named there. A ``UserError`` if one is
    missing.
    """
    if missing := next((path for path, _ in parts.values() if not path.exists()), None):
        raise UserError(f"{missing} does not exist; build the book first (make book).")
    root, items = target.stem, []
    for name, (path, words) in parts.items():
        entry = f"{name}/index.html" if (path / "index.html").exists() else name
        entry += "/" * (path.is_dir() and entry == name)
        items.append(f'<li><a href="{escape(entry)}">{escape(words)}</a></li>')
    with atomic_path(target) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED) as archive:
        archive.writestr(f"{root}/index.html", PAGE.format(items="\n".join(items)))
        for name, (path, _) in parts.items():
            if any(name.startswith(f"{other}/") for other in parts):
                continue
            files = [path] if path.is_file() else sorted(path.rglob("*"))
            for file in files:
                inside = Path(root) / name / file.relative_to(path)
                if file.is_file() and not any(p.startswith(".") for p in inside.parts):
                    archive.write(file, inside)
