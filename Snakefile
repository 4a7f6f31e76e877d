"""data -> zoo -> tables -> notebooks -> book. Run through the Makefile, or: snakemake --cores all --config profile=fashion

What is fresh is decided by content alone: every rule carries the digest of all that it depends on (code, profile, data,
versions) as a parameter, and Snakemake repeats a step if its parameter changed. Markers in runs/<run>/steps say that a step is
complete; inside a step, models that are on disk and intact are never trained again.
"""

import shlex
import sys
from pathlib import Path

from sacutils import artefacts, freshness, lineage, profiles
from sacutils import workflow as steps

SEED = None if config.get("seed") in (None, "") else config["seed"]
SET = str(config.get("set") or "").split()
try:
    PROFILE = profiles.load_profile(config.get("profile", "fashion"), steps.replacements(SEED, SET))
    GROUPS = lineage.groups(PROFILE)
    DIGESTS = {group: lineage.digests(lineage.profile_of(PROFILE, group)) for group in GROUPS}
    MODELS = {group: [DIGESTS[group][spec.name] for spec in specs] for group, specs in GROUPS.items()}
    DATA = lineage.data_digest(PROFILE)
except artefacts.UserError as error:
    sys.exit(f"Error: {error}")

RUN = f"runs/{PROFILE.run_name}"
OPTIONS = f"--profile {PROFILE.name}" + ("" if SEED is None else f" --seed {SEED}")
OPTIONS += "".join(f" --set {shlex.quote(value)}" for value in SET)
CALL = f"{sys.executable} -m sacutils.workflow"
NOTEBOOKS = [name for name in steps.notebook_names() if name != "90_status"]
METHODS = steps.methods(PROFILE)
TABLES = artefacts.digest_of([MODELS, PROFILE.model_dump(exclude={"device"}), freshness.code_digest("runs.Run", "workflow.tables", "workflow.baseline")])


def content(*paths):
    return {str(path): artefacts.sha256(path) for path in sorted(paths) if path.is_file()}


PUBLISHED = content(*Path("results").rglob("*.csv"))


def notebook_digest(name):
    code = [freshness.script_digest(f"notebooks/{name}.py"), freshness.code_digest("pages.execute")]
    # a new reference run concerns the chapters that show references or published values
    shows = '"results"' in Path(f"notebooks/{name}.py").read_text(encoding="utf-8")
    return artefacts.digest_of([TABLES, PUBLISHED if shows else None, code])


def book_digest():
    # the package too: the API page shows its docstrings and its source
    prose = content(*Path("book").rglob("*"), Path("_config.yml"), Path("_toc.yml"), *Path("sacutils").glob("*.py"))
    notebooks = [notebook_digest(name) for name in steps.notebook_names()]
    return artefacts.digest_of([prose, notebooks, freshness.code_digest("pages.stage", "pages.build")])


rule book:
    input: expand("{run}/notebooks/{name}.ipynb", run=RUN, name=[*NOTEBOOKS, "90_status"])
    output: f"{RUN}/steps/book.json"
    params: digest=book_digest()
    shell: f"{CALL} book {OPTIONS}"


rule data:
    output: f"{RUN}/steps/data.json"
    params: digest=DATA
    shell: f"{CALL} data {OPTIONS}"


for group in GROUPS:
    rule:
        name: f"train-{group}"
        input:
            f"{RUN}/steps/data.json",
            [f"{RUN}/steps/train-{other}.json" for other in lineage.ancestors(PROFILE, group)],
        output: f"{RUN}/steps/train-{group}.json"
        params: digest=artefacts.digest_of(MODELS[group]), group=group
        priority: lineage.cost(PROFILE, group)
        shell: f"{CALL} train {{params.group}} {OPTIONS}"  # the command is made when the job runs


for method in METHODS:
    rule:
        name: f"baseline-{method}"
        input: [f"{RUN}/steps/train-{group}.json" for group in GROUPS]
        output: f"{RUN}/steps/baseline-{method}.json"
        params: digest=artefacts.digest_of([TABLES, method]), method=method
        shell: f"{CALL} baseline {{params.method}} {OPTIONS}"


rule ablations:
    input: [f"{RUN}/steps/train-{group}.json" for group in GROUPS]
    output: f"{RUN}/steps/ablations.json"
    params: digest=artefacts.digest_of([TABLES, freshness.code_digest("ablations.table")])
    shell: f"{CALL} ablations {OPTIONS}"


rule tables:
    input: expand("{run}/steps/{step}.json", run=RUN, step=["ablations", *(f"baseline-{method}" for method in METHODS)])
    output: f"{RUN}/steps/tables.json"
    params: digest=TABLES
    shell: f"{CALL} tables {OPTIONS}"


for notebook in NOTEBOOKS:
    rule:
        name: f"notebook-{notebook}"
        input: f"{RUN}/steps/tables.json"
        output: f"{RUN}/notebooks/{notebook}.ipynb"
        params: digest=notebook_digest(notebook), notebook=notebook
        shell: f"{CALL} notebook {{params.notebook}} --book {OPTIONS}"


rule status:
    input: expand("{run}/notebooks/{name}.ipynb", run=RUN, name=NOTEBOOKS)
    output: f"{RUN}/notebooks/90_status.ipynb"
    params: digest=artefacts.digest_of([notebook_digest(name) for name in steps.notebook_names()])
    shell: f"{CALL} notebook 90_status --book {OPTIONS}"
