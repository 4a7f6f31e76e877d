"""data -> zoo -> tables -> notebooks -> book. Run by: python -m sacbook book, or: snakemake --cores all --config profile=fashion

What there is to do, and what is fresh, is said in sacbook/jobs.py. Freshness is decided by content alone: every rule carries
the digest of all that it depends on (code, profile, data, versions) as a parameter, and Snakemake repeats a step if its
parameter changed. Markers in runs/<run>/steps say that a step is complete; inside a step, models that are on disk and intact
are never trained again.
"""

import json
import sys

from sacbook import jobs
from sacbook.workflow import DEFAULT, quoted  # the name `workflow` is Snakemake's own here
from sacutils import files, profiles

try:
    # values to replace are given by name (seed=1), or all in a list of one JSON text (overrides=)
    VALUES = {key: config[key] for key in config if key not in ("profile", "overrides", "plan")}
    VALUES |= json.loads(*config.get("overrides", ["{}"]))
    PROFILE = profiles.load_profile(config.get("profile", DEFAULT), VALUES)
    JOBS = jobs.read_plan(config["plan"]) if "plan" in config else jobs.plan(PROFILE)
except (files.UserError, TypeError, ValueError) as error:
    sys.exit(f"Error: {error}")

RUN = f"runs/{PROFILE.run_name}"
CALL = quoted([sys.executable, "-m", "sacbook.forked", "sacbook"])
OPTIONS = quoted(["--profile", PROFILE.name, "--overrides", json.dumps(PROFILE.overrides)])


for name, job in reversed(JOBS.items()):  # the last job, the book, is what is asked for
    rule:
        name: name
        input: [f"{RUN}/{JOBS[before].output}" for before in job.after]
        output: f"{RUN}/{job.output}"
        params: digest=job.digest
        priority: job.priority
        shell: "{CALL} step {rule} {OPTIONS} --made-from {params.digest}"
