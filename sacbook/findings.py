"""The numbers that pages of prose show, as texts by name: of a run, and of the reference runs."""

import pandas as pd

from sacutils import evaluation, steps
from sacutils.run import Run, provenance_line
from sacutils.studies import attacked, claims, references, tables, verdicts

LEADING = "one augmentation"
"""The regime whose sources are counted together; the other one stands beside."""
BESIDE = {"_plain": f"{references.DEFAULT}_plain", "_cifar10": "cifar10"}
"""References with numbers of their own, by the ending of their names: the leading data in the other
regime, and other data."""


def of_run(run: Run) -> dict[str, str]:
    """Profile, provenance, AUCs of SAC-w and hits of the sibling test, of one run."""
    found = verdicts.accusations(verdicts.table(run))
    values = {"profile": run.profile.run_name, "n_models": str(len(run.names()))}
    values["provenance"] = provenance_line(run).strip("*").replace("`", "")
    for attack in steps.ATTACKS:
        for negatives in steps.negative_sets(attack) if run.names(attack) else ():
            for form in ("probabilities", "labels"):
                auc = tables.cell(run, attack, form=form, negatives=negatives)
                values[f"auc_w_{attack}_{form}_{negatives.split()[0]}"] = str(auc)
    kinds = {"loop": found["style"] == "in the loop", "innocent": ~found["derived"]}
    for name, rows in kinds.items():
        rows &= found["derived"] == (name != "innocent")
        values[f"siblings_{name}"] = verdicts.hits(found[rows])
    return values


def of_references() -> dict[str, str]:
    """What the reference runs say over their sources.

    SAC-w on probabilities and the ledger of claims: the reference of ``references.DEFAULT``, and
    beside it those of `BESIDE`. The sibling test: all sources of the regime `LEADING`, together and
    by reference; a data set and a seed are a source.
    """
    known = {name: references.load(name) for name in references.available()}
    lead = known[references.DEFAULT]
    values = {"ref_lead": references.label(references.DEFAULT, lead)}
    beside = {"": lead} | {suffix: known[name] for suffix, name in BESIDE.items()}
    for suffix, name in BESIDE.items():
        values[f"ref{suffix}"] = references.label(name, known[name])
    groups = {"finetuned": claims.EASY[:2], "pruned": claims.EASY[2:], "label": claims.HARD[:1]}
    for suffix, reference in beside.items():
        for group, attacks in groups.items():
            for negatives in steps.negative_sets(attacks[0]):
                name = f"ref_{group}_{negatives.split()[0]}{suffix}"
                values[name] = tables.stated(reference, tables.SAC_W, attacks, negatives)
    ledger = claims.ledger(claims.claims(lead))
    words = ledger["verdict"]
    values["ref_claims"] = str(len(words))
    for name in ("REPRODUCES", "IN_PART", "COMPATIBLE", "DOES_NOT"):
        values[f"ref_{name.lower()}"] = str(int((words == getattr(claims, name)).sum()))
    built = tables.select(ledger, rule="none needed", verdict=claims.REPRODUCES)
    values["ref_built"] = str(len(built))

    parts = [
        verdicts.accusations(part["verdicts"]).assign(run=name)
        for name, part in known.items()
        if "verdicts" in part
    ]
    found = tables.select(pd.concat(parts, ignore_index=True), regime=LEADING)
    sources = found["run"] + " " + found["seed"].astype(str)
    count = sources.nunique()
    values["ref_leading"] = f"{count} source{'' if count == 1 else 's'} of the regime {LEADING}"
    for style in verdicts.STYLES:
        rows = tables.select(found, style=style, derived=True)
        values[f"ref_style_{style.replace(' ', '_')}"] = verdicts.hits(rows)
    loop = tables.select(found, style="in the loop", derived=True)
    values["ref_loop_by_run"] = verdicts.by_run(loop)
    innocent = found[~found["derived"]]
    share = evaluation.clustered_share(
        innocent["hit"].to_numpy(), sources[innocent.index].to_numpy(), 0.05
    )
    values |= {"ref_innocent": verdicts.hits(innocent), "ref_innocent_high": f"{share.high:.1%}"}
    return values | attacks_of(references.DEFAULT, lead)


def attacks_of(name: str, reference: tables.Tables) -> dict[str, str]:
    """The five findings of the chapter on attacks, and the sources that they are about."""
    if "attacks" not in reference:
        said = ["Not measured in the reference runs."] * 5
        return {f"ref_attack_{i}": text for i, text in enumerate(said, 1)} | {"ref_attacks": name}
    found = attacked.sentences(attacked.means(reference["attacks"]))
    said = {f"ref_attack_{i}": text for i, text in enumerate(found, 1)}
    return said | {"ref_attacks": references.label(name, reference, "attacks")}
