"""The branch ``launch``, which the Binder and Colab buttons of the published book open: a copy of
the repository with executed notebooks instead of scripts, and with the models and tables that they
load.
"""

import re
import shutil
from pathlib import Path

import nbformat
import yaml

from sacutils.files import UserError, home, write_text
from sacutils.profiles import Profile
from sacutils.steps import data_digest

COPIED = (
    *("sacutils", "sacbook", "sacheck", "profiles", "results", "pyproject.toml", "constraints.txt"),
    *("data/README.md", "data/fashion_subset.npz", "README.md", "LICENSE", "CITATION.cff"),
)
"""What a notebook needs of the repository, and what says whose it is."""
MADE = ("probes", "outputs", "tables", "lab")
"""What a notebook loads from a run beside images and models, and the lab pack."""
CPU_WHEELS = "--extra-index-url https://download.pytorch.org/whl/cpu"


def addresses() -> tuple[str, str]:
    """Where the repository is, as ``_config.yml`` states it, and where GitHub Pages publishes it; a
    ``UserError`` if the configuration states no address, or none on GitHub.
    """
    config = yaml.safe_load((home() / "_config.yml").read_text(encoding="utf-8"))
    url = (config["repository"]["url"] or "").rstrip("/").removesuffix(".git")
    match = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+)", url)
    if not match:
        raise UserError(
            f"repository.url of _config.yml is {url!r}; fill in the address of your copy, such as "
            "https://github.com/OWNER/NAME."
        )
    return url, f"https://{match[1].lower()}.github.io/{match[2]}/"


def fill(folder: Path, profile: Profile) -> None:
    """Fill a new folder with what the branch holds, from a finished run; a ``UserError`` if the
    repository has no address, `folder` exists, or the run is not finished.
    """
    from . import jobs, portable, status

    repository, book = addresses()
    if folder.exists():
        raise UserError(f"{folder} exists; name a folder that does not exist yet.")
    run = status.folder_of(profile)
    executed = jobs.executed(run)
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__", "*.failed.ipynb")
    sources = [home() / name for name in COPIED]
    # models and images lie under the profile's name, also those of other runs
    images = home() / "runs" / profile.name / "data" / f"{data_digest(profile)[:12]}.safetensors"
    models = [path for name in jobs.names(profile) for _, path in jobs.work(profile, name)]
    sources += [file for path in (images, *models) for file in (path, path.with_suffix(".json"))]
    sources += [run / part for part in MADE]
    for source in dict.fromkeys(sources):
        target = unfinished / source.relative_to(home())
        if source.is_dir():
            shutil.copytree(source, target, ignore=ignore)
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    for path in executed:
        target = unfinished / "notebooks" / path.name
        target.parent.mkdir(exist_ok=True)
        nbformat.write(portable.portable(path, repository, book), target)
    text = (home() / "environment.yml").read_text(encoding="utf-8")
    environment = yaml.safe_load(text)
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    pip.insert(0, CPU_WHEELS)
    write_text(unfinished / "environment.yml", yaml.safe_dump(environment, sort_keys=False))
    unfinished.rename(folder)
