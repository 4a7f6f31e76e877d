"""data -> zoo -> tables -> notebooks -> book. Run by: python -m sacbook book, or: snakemake --cores all --config profile=fashion

What there is to do, and what is fresh, is said in sacbook/jobs.py. Freshness is decided by content alone: every rule carries
the digest of all that it depends on (code, profile, data, versions) as a parameter, and Snakemake repeats a step if its
parameter changed. Markers in runs/<run>/steps say that a step is complete; inside a step, models that are on disk and intact
are never trained again.
"""

import sys

from sacbook import jobs
from sacbook.workflow import choice, quoted  # the name `workflow` is Snakemake's own here
from sacutils import files, profiles

try:
    CHOICE = choice(config)
    PROFILE = profiles.load_profile(CHOICE.profile, CHOICE.overrides)
    JOBS = jobs.plan(PROFILE)
except files.UserError as error:
    sys.exit(f"Error: {error}")

RUN = f"runs/{PROFILE.run_name}"
CALL = quoted([sys.executable, "-m", "sacbook"])
OPTIONS = quoted(CHOICE.options)


for name, job in reversed(JOBS.items()):  # the last job, the book, is what is asked for
    rule:
        name: name
        input: [f"{RUN}/{JOBS[before].output}" for before in job.after]
        output: f"{RUN}/{job.output}"
        params: digest=job.digest, verb=job.verb
        priority: job.priority
        shell: "{CALL} {params.verb} {OPTIONS}"
