"""data -> zoo -> tables -> notebooks -> book. Run by: python -m sacbook book, or: snakemake --cores all --config profile=fashion

What there is to do, and what is fresh, is said in sacbook/jobs.py. Freshness is decided by content alone: every rule carries
the digest of all that it depends on (code, profile, data, versions) as a parameter, and Snakemake repeats a step if its
parameter changed. Markers in runs/<run>/steps say that a step is complete; inside a step, models that are on disk and intact
are never trained again.
"""

import json
import sys
from typing import get_args
from urllib.parse import unquote

from sacbook import jobs
from sacbook.workflow import DEFAULT  # the name `workflow` is Snakemake's own here
from sacutils import files, profiles
from sacutils.files import quoted

try:
    # values to replace are given by name (seed=1), or all with the profile's name as JSON in the characters of an address (overrides=)
    VALUES = {key: config[key] for key in config if key not in ("profile", "overrides", "plan")}
    VALUES |= json.loads(unquote(config.get("overrides", "%7B%7D")))
    PROFILE = profiles.load_profile(VALUES.pop("profile", config.get("profile", DEFAULT)), VALUES)
    JOBS = jobs.read_plan(config["plan"]) if "plan" in config else jobs.plan(PROFILE)
except (files.UserError, TypeError, ValueError) as error:
    sys.exit(f"Error: {error}")

RUN = f"runs/{PROFILE.run_name}"
CALL = quoted([sys.executable, "-m", "sacbook.forked", "sacbook"])
OPTIONS = quoted(["--profile", PROFILE.name, "--overrides", json.dumps(PROFILE.overrides)])
# what a cluster is asked for beside the resources of profiles/slurm: a GPU for what trains or asks torchvision's networks
LARGE = PROFILE.zoo.source in get_args(profiles.Large) and PROFILE.device != "cpu"
WITHOUT = ("comparison", "references", "notebook", "book")


for name, job in reversed(JOBS.items()):  # the last job, the book, is what is asked for
    rule:
        name: name
        input: [f"{RUN}/{JOBS[before].output}" for before in job.after]
        output: f"{RUN}/{job.output}"
        params: digest=job.digest
        priority: job.priority
        resources: **({"gres": "gpu:1"} if LARGE and not name.startswith(WITHOUT) else {})
        shell: "{CALL} step {rule} {OPTIONS} --made-from {params.digest}"
