"""What breaks a fingerprint, what that costs the thief, and what it costs the innocent: one table.

A row compares suspects (stolen models behind a service, or by a thief, that resists; innocents whom
an accuser treats unfairly) with the innocents, for one score of :mod:`~sacutils.studies.scores`.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch

from .. import evaluation, steps, training
from ..run import Run
from ..steps import CHOOSERS, CONTROLS, INDEPENDENT, LABELS, SAME_CLASSES, SURROGATES
from . import disputes, services, thieves, verdicts
from .scores import CALIBRATING, CONTESTED, LEVEL, MAIN, SETS, SIBLINGS, Owner, judge
from .services import TEST, Answers, Shown
from .tables import clusters, select

DISTURBED = ("finetune_last", "prune", "extract_label", "extract_probability")
"""Stolen models whose service is disturbed."""
BEHIND_DOORS = ("finetune_last", "extract_label")
"""Those of them that are asked anew about changed images, because answers cost time."""
INNOCENTS = ("independent", "student_of_sibling")
"""Innocents whose service does the same, and whom a lying accuser accuses."""
PLAIN, HABIT, CHAIN, OVERLAP = "none", "habit", "chain", "data shared"
NO_TRICK = "no trick"
"""Students of the architectures that adaptive thieves have: these are compared with them alone."""
SHIFTED, PUBLIC = "shifted or mixed refused", "near public refused"
ACCUSER, ONE_BY_ONE = "accuser lies", "one answer at a time"
BETTING = "Betting test"
HABITS = {
    "extract_once": (HABIT, "asked once"),
    "extract_plain": (HABIT, "no augmentation"),
    "extract_noisy": (HABIT, "30 % noise"),
    "extract_adversarial": (HABIT, "hardened"),
    "chain_finetuned": (CHAIN, "fine-tuned"),
    "chain_pruned": (CHAIN, "pruned"),
    "chain_quantised": (CHAIN, "int8"),
}
"""Families and strengths of stolen models that the zoo has already."""
EVERYTHING = (
    *services.CHANGED_IMAGES,
    *(
        f"{trick} {strength:g}"
        for trick, strengths in thieves.TRICKS.items()
        for strength in strengths
    ),
    f"{ACCUSER} {disputes.WORSE}",
)
"""Families, and single settings, that full runs alone can have."""
LOOKS = (100, 300, 1000, 2000, 4000)
"""Numbers of answers at which the table says who has been accused by then."""
COLUMNS = ["regime", "family", "strength", "group", "score", "auc", "low", "high", "found"]
COLUMNS += ["accused", "accuracy", "fidelity", "suspects", "innocents"]


def asked_images(run: Run) -> Answers:
    """All images that are asked about, uint8, by the name of their set."""
    known = verdicts.answers(run)
    asked = known["asked"][known[_largest(run)]]
    sets = {name: run.probes[name].pixels for name in SETS if name != CONTESTED}
    sets |= {CONTESTED: verdicts.candidates(run)[asked.to(run.device)]}
    return sets | {TEST: run.material.splits["test"].pixels}


def _largest(run: Run) -> str:
    return f"probes {run.profile.probes.contested[-1]}"


def make_answers(run: Run) -> dict[str, torch.Tensor]:
    """Logits that no other file of a run has: of the models behind disturbed services on the test
    images and, in a full run, on all images as the service changes them; of the surrogates on the
    contested probes; and which questions the doors refuse. Keys are joined by " | ".
    """
    images, judged = asked_images(run), run.names(*DISTURBED, *INNOCENTS)
    run.announce(run.zoo.source, *run.names(*SURROGATES), *judged)
    tensors = {}

    def ask(names: Iterable[str], pixels: torch.Tensor, key: str) -> None:
        for name in names:
            tensors[f"{key} | {name}"] = training.logits_of(run.zoo.get(name), pixels)

    ask((run.zoo.source, *judged), images[TEST], TEST)
    ask(run.names(*SURROGATES), images[CONTESTED], CONTESTED)
    asked = run.names(*BEHIND_DOORS, *INNOCENTS)
    for family, strength in _changes(run):
        change = services.CHANGED_IMAGES[family][1]
        for key, pixels in images.items():
            ask(asked, change(pixels, strength).contiguous(), f"{family} {strength:g} | {key}")
    for family, scores in _doors(run, images).items():
        for strength in services.REFUSED:
            for key, let_in in services.door(scores, strength).items():
                tensors[f"{family} {strength:g} | {key}"] = let_in
    return tensors


def _changes(run: Run) -> Iterable[tuple[str, float]]:
    """Changed images need new answers, so they belong to full runs."""
    if not run.profile.full:
        return
    for family, (strengths, _) in services.CHANGED_IMAGES.items():
        yield from product([family], strengths)


def _doors(run: Run, images: Answers) -> dict[str, Answers]:
    splits = run.material.splits
    honest = splits["attacker"].pixels
    public = torch.cat([splits[name].pixels for name in ("probe", "reserve")])
    return {
        SHIFTED: services.oddity(honest, images, run.profile.seed),
        PUBLIC: services.nearness(honest[: services.HONEST], images, public),
    }


def answers(run: Run) -> dict[str, torch.Tensor]:
    """What :func:`make_answers` gives, kept in ``outputs/attacked.safetensors``."""
    code = ("studies.attacked.make_answers", "studies.verdicts.make_answers", "run.make_probes")
    digest = run.digest(*code, more=run.profile.full)
    return run.keep_tensors("outputs/attacked", digest, lambda: make_answers(run))


def origins(run: Run, names: Iterable[str]) -> dict[str, int]:
    """The member that a model is or was made from, other than the source, as its column."""
    members = {name: j for j, name in enumerate(verdicts.members(run))}
    origin = {name: members.get(name.split(" > ")[0], 0) for name in names}
    return {name: j for name, j in origin.items() if j}


def rows(
    where: tuple[str, Any, str],
    judged: pd.DataFrame,
    innocent: pd.DataFrame,
    same: pd.DataFrame,
    quality: tuple[float, float],
) -> Iterator[dict[str, Any]]:
    """A row for each score: family, strength and group are `where`; accuracy and fidelity, means of
    the suspects, are `quality`. Frames are those of :func:`scores.judge`.

    auc, low and high: `judged`, the suspects, against `innocent`, by value. found and accused: the
    shares of `judged` and of `same`, innocents who are treated alike, whose p is at most `LEVEL`.
    """
    for score, part in judged.groupby("score", sort=False):
        others, alike = (frame[frame["score"] == score] for frame in (innocent, same))
        if others.empty:
            continue
        names = (frame["model"].to_numpy(str) for frame in (part, others))
        values = (frame["value"].to_numpy() for frame in (part, others))
        auc = evaluation.auc(*values, tuple(map(clusters, names)))
        row = dict(zip(COLUMNS[1:4], (*where[:1], _text(where[1]), where[2]), strict=True))
        row |= {"score": score} | dict(zip(("auc", "low", "high"), auc, strict=True))
        row |= {"found": (part["p"] <= LEVEL).mean(), "accused": (alike["p"] <= LEVEL).mean()}
        row |= dict(zip(("accuracy", "fidelity"), quality, strict=True))
        yield row | {"suspects": len(part), "innocents": len(alike)}


def _text(strength: Any) -> str:
    return f"{strength:g}" if isinstance(strength, int | float) else str(strength)


def quality_of(shown: Iterable[Shown], truth: torch.Tensor, source: torch.Tensor) -> tuple:
    """Mean accuracy and fidelity of what services show on the test images, int64 labels; an image
    without an answer counts as lost.
    """
    means = [
        [((each.labels == labels) & each.answered).double().mean().item() for each in shown]
        for labels in (truth, source)
    ]
    return tuple(float(np.mean(values)) for values in means)


def _recorded(run: Run, names: list[str]) -> tuple[float, float]:
    records = [run.zoo.record(name) for name in names]
    return tuple(float(np.mean([r[key] for r in records])) for key in ("test_accuracy", "fidelity"))


class _Study:
    """What all families of a run share: the answers, the owner, the innocents, the truth."""

    def __init__(self, run: Run) -> None:
        self.run, self.kept = run, answers(run)
        contested = verdicts.answers(run)
        self.asked = contested["asked"][(index := contested[_largest(run)])]
        self.contested = {
            name: contested[name][index] for name in contested if name in run.zoo.specs
        }
        self.owner = self._owner()
        self.truth = run.material.splits["test"].labels.cpu()
        self.source = self.kept[f"{TEST} | {run.zoo.source}"].argmax(1)
        self.innocent = self.plainly(run.names(*INDEPENDENT))

    def known(self, name: str) -> Answers:
        """The answers of a model on all sets of probes as the run has them, and where it is behind
        a disturbed service on the test images.
        """
        found = {key: self.run.logits[key][name] for key in SETS if key != CONTESTED}
        test = self.kept.get(f"{TEST} | {name}")
        found |= {CONTESTED: self.contested[name]} | ({} if test is None else {TEST: test})
        return {key: logits.double() for key, logits in found.items()}

    def _owner(self) -> Owner:
        run = self.run
        members = [self.contested[name] for name in verdicts.members(run)]
        calibrating = [self.known(name) for name in run.names(*CALIBRATING)]
        return Owner(
            self.known(run.zoo.source),
            {name: torch.stack([each[name] for each in calibrating]) for name in SETS},
            torch.stack(members).double().log_softmax(2),
            torch.stack([self.contested[name].argmax(1) for name in run.names(*CONTROLS)]),
        )

    def judge(self, shown: dict[str, dict[str, Shown]]) -> pd.DataFrame:
        return judge(self.owner, shown, origins(self.run, shown))

    def plainly(self, names: list[str]) -> pd.DataFrame:
        """Models as they are."""
        return self.judge({name: services.plain(self.known(name)) for name in names})

    def disturbed(
        self, family: str, strength: float, show: Any, stolen: tuple[str, ...] = DISTURBED
    ) -> Iterator[dict[str, Any]]:
        """Rows of a service; `show` gives what it shows, by set, of the model of a name."""
        run = self.run
        shown = {name: show(name) for name in run.names(*stolen, *INNOCENTS)}
        judged = self.judge(shown)
        same = select(judged, model=run.names(*INNOCENTS))
        for step in stolen:
            names = run.names(step)
            quality = quality_of([shown[name][TEST] for name in names], self.truth, self.source)
            where = (family, strength, LABELS[step])
            yield from rows(where, select(judged, model=names), self.innocent, same, quality)


def _of_services(study: _Study) -> Iterator[dict[str, Any]]:
    run, kept = study.run, study.kept
    plain = {name: study.known(name) for name in run.names(*DISTURBED, *INNOCENTS)}

    def seed(name: str) -> int:
        return steps.derived_seed(run.profile.seed, "service", name)

    yield from study.disturbed(PLAIN, "", lambda name: services.plain(plain[name]))
    for family, (strengths, _) in services.LABELS_KEPT.items():
        for s in strengths:
            show = lambda name, f=family, s=s: services.kept(f, plain[name], s, seed(name))  # noqa: E731
            yield from study.disturbed(family, s, show)
    for family, (strengths, change) in services.LABELS_TOUCHED.items():
        for s in strengths:
            show = lambda name, c=change, s=s: c(plain[name], s, seed(name))  # noqa: E731
            yield from study.disturbed(family, s, show)
    for family, s in product((SHIFTED, PUBLIC), services.REFUSED):
        let_in = {key: kept[f"{family} {s:g} | {key}"] for key in (*SETS, TEST)}
        show = lambda name, let_in=let_in: services.refused(plain[name], let_in)  # noqa: E731
        yield from study.disturbed(family, s, show)
    for family, s in _changes(run):
        show = lambda name, f=family, s=s: services.plain(  # noqa: E731
            {key: kept[f"{f} {s:g} | {key} | {name}"] for key in (*SETS, TEST)}
        )
        yield from study.disturbed(family, s, show, BEHIND_DOORS)


def _of_zoo(study: _Study) -> Iterator[dict[str, Any]]:
    run = study.run
    same = select(study.innocent, model=run.names(*INNOCENTS))
    for step in SAME_CLASSES:
        if step in DISTURBED or not (names := run.names(step)):
            continue
        judged = study.plainly(names)
        places = [(PLAIN, "")] * (step not in HABITS or step == "extract_adversarial")
        places += [HABITS[step]] if step in HABITS else []
        for family, strength in places:
            where = (family, strength, LABELS[step])
            yield from rows(where, judged, study.innocent, same, _recorded(run, names))
    shares: dict[float, list[str]] = {0.0: run.names("independent")}
    for name in run.names("overlap"):
        shares.setdefault(float(run.zoo.specs[name].fraction or 0), []).append(name)
    shares[1.0] = run.names("independent_owner")
    for share, names in shares.items():
        others = study.innocent[~study.innocent["model"].isin(names)]
        where = (OVERLAP, share, LABELS["overlap"])
        yield from rows(where, study.plainly(names), others, same, _recorded(run, names))


def _of_thieves(study: _Study, found: dict[thieves.Thief, Answers]) -> Iterator[dict[str, Any]]:
    run = study.run
    same = select(study.innocent, model=run.names(*INNOCENTS))
    kinds = {thief.architecture for thief in found}
    alike = [m for m in run.names("extract_label") if run.zoo.specs[m].architecture in kinds]
    where = (NO_TRICK, "", STUDENTS)
    yield from rows(where, study.plainly(alike), study.innocent, same, _recorded(run, alike))
    for trick, strength in dict.fromkeys(thief[:2] for thief in found):
        shown = {
            thieves.name_of(run, thief): services.plain(each)
            for thief, each in found.items()
            if thief[:2] == (trick, strength)
        }
        quality = quality_of([each[TEST] for each in shown.values()], study.truth, study.source)
        where = (trick, strength, STUDENTS)
        yield from rows(where, study.judge(shown), study.innocent, same, quality)


def pool(study: _Study) -> disputes.Pool:
    """All answers of a run on the contested probes."""
    run = study.run
    copies = run.names(*SURROGATES)
    logits = study.contested | {name: study.kept[f"{CONTESTED} | {name}"] for name in copies}
    truth = torch.cat([run.material.splits[name].labels for name in ("probe", "reserve")]).cpu()
    return disputes.Pool(
        {name: each.double() for name, each in logits.items()},
        verdicts.members(run), run.names(*CONTROLS), run.names(*CALIBRATING), copies,
        run.names(*CHOOSERS), truth[study.asked % len(truth)], run.profile.probes.count,
    )  # fmt: skip


def _of_disputes(study: _Study, worse: list[Answers]) -> Iterator[dict[str, Any]]:
    run, known = study.run, pool(study)
    accused, without = run.names(*INNOCENTS), origins(study.run, run.names(*INNOCENTS))
    honest = disputes.honest(known, accused, without)
    students = {
        str(run.zoo.specs[name].parent): name
        for name in run.names("student_of_sibling", "student_of_stranger")
    }
    teachers = disputes.honest(known, list(students), origins(run, students))
    logits = [each[CONTESTED].double() for each in worse]
    for lie, judged in disputes.lies(known, accused, without, students, logits):
        judged = select(judged, score=disputes.LIES[lie])
        before = teachers if lie == disputes.BACK_DATED else honest
        names = sorted(set(judged["model"]))
        where = (ACCUSER, lie, "Innocents")
        yield from rows(where, judged, before, before, _recorded(run, names))

    stolen = {step: run.names(step) for step in ("finetune_last", *steps.EXTRACTION)}
    everybody = [*accused, *(name for names in stolen.values() for name in names)]
    needed = dict(
        zip(
            everybody,
            disputes.queries_needed(known, everybody, without, run.profile.seed),
            strict=True,
        )
    )
    for step, names in stolen.items():
        for look in (n for n in LOOKS if n <= len(known.truth)):
            frames = [
                pd.DataFrame(
                    {"model": group, "score": BETTING, "value": [needed[m] for m in group]}
                )
                for group in (names, accused)
            ]
            frames = [each.assign(p=np.where(each["value"] <= look, 0.0, 1.0)) for each in frames]
            where = (ONE_BY_ONE, look, LABELS[step])
            yield from rows(where, frames[0], frames[1], frames[1], _recorded(run, names))
    fixed = select(verdicts.table(run), accused=verdicts.SOURCE, form="labels")
    for look, part in fixed.groupby("n_probes"):
        part = part.rename(columns={"suspect": "model", "p_siblings": "value"})
        part = part.assign(score=SIBLINGS)
        same = select(part, model=accused)
        for step, names in stolen.items():
            where = (ONE_BY_ONE, look, LABELS[step])
            yield from rows(where, select(part, model=names), same, same, _recorded(run, names))


def make_rows(run: Run) -> Iterator[dict[str, Any]]:
    """All rows of :func:`table`. Thieves who adapt, changed images and worse siblings need new
    trainings or answers, so they belong to full runs.
    """
    study = _Study(run)
    yield from _of_services(study)
    yield from _of_zoo(study)
    found, worse = thieves.answers(run, asked_images(run)) if run.profile.full else ({}, [])
    if found:
        yield from _of_thieves(study, found)
    yield from _of_disputes(study, worse)


def table(run: Run) -> pd.DataFrame:
    """The attacks on the fingerprint of a run's source, kept as ``tables/attacks.csv``.

    Columns: regime; family, strength (as text) and group of the suspects; score; auc, low and high,
    of the suspects against all innocents as they are, with its 95 % interval; found, the share of
    suspects that `LEVEL` accuses; accused, the share of innocents who are treated alike; accuracy
    and fidelity of the suspects on the test images; and how many suspects and how many innocents
    these shares have. Where an accuser lies, the suspects are innocents, and `accused` is the share
    that the same accuser finds without the lie.
    """
    code = ("studies.attacked.make_rows", "studies.attacked.make_answers")
    more = [run.profile.full, run.profile.zoo.thief_strengths]
    digest = run.digest(*code, "run.make_logits", "run.make_probes", more=more)

    def make() -> pd.DataFrame:
        made = pd.DataFrame(make_rows(run)).assign(regime=steps.regime(run.profile))
        return made[COLUMNS]

    return _filled(run.keep_table("attacks", digest, make))


def _filled(table: pd.DataFrame) -> pd.DataFrame:
    """A table as read from a file, with strengths as text."""
    return table.assign(strength=table["strength"].fillna("").astype(str))


def means(reference: pd.DataFrame) -> pd.DataFrame:
    """The table of a reference with one row a setting that all of its sources have: means over
    these (an interval is the mean of the sources' intervals), and sums of the numbers of suspects
    and innocents.
    """
    keys = ["regime", "family", "strength", "group", "score"]
    how = dict.fromkeys(COLUMNS[5:], "mean") | dict.fromkeys(COLUMNS[-2:], "sum")
    settings = _filled(reference).groupby(keys, sort=False)
    everywhere = settings["seed"].nunique() == reference["seed"].nunique()
    return settings.agg(how)[everywhere].reset_index()


def with_reference(table: pd.DataFrame, reference: pd.DataFrame | None) -> pd.DataFrame:
    """The rows of a run, and the :func:`means` of a reference for settings that it lacks, with the
    reference's undisturbed models, to which they compare. Shares of data, which are the points of a
    line, are taken all or none. The column `origin` says which.
    """
    own = table.assign(origin="this run")
    if reference is None:
        return own
    theirs = means(reference).assign(origin="reference")
    have = set(zip(own["family"], own["strength"], strict=True))
    settings = zip(theirs["family"], theirs["strength"], strict=True)
    lacking = pd.Series([each not in have for each in settings], index=theirs.index)
    line = theirs["family"] == OVERLAP
    lacking |= line & lacking[line].any()
    lacking |= theirs["family"].isin([PLAIN, NO_TRICK]) & lacking.any()
    return pd.concat([own, theirs[lacking]], ignore_index=True)


def beside(rows: pd.DataFrame, families: list[str]) -> pd.DataFrame:
    """Rows of some families, behind those of the undisturbed models of the same `origin`: with
    tricks of thieves alone, of the same architectures.
    """
    part = select(rows, family=[name for name in families if name != PLAIN])
    start = _undisturbed(rows, part)
    start = start[start["origin"].isin(part["origin"])] if len(part) else start
    return pd.concat([start, part])


def _undisturbed(rows: pd.DataFrame, part: pd.DataFrame) -> pd.DataFrame:
    tricks = len(part) and part["family"].isin(thieves.TRICKS).all()
    return select(rows, family=NO_TRICK if tricks else PLAIN)


def of_one_origin(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each family the rows of the `origin` that has the most settings, for a line that joins
    them: models of two runs are not on one line.
    """
    parts = []
    for _, part in rows.groupby("family", sort=False):
        settings = part.groupby("origin", sort=False)["strength"].nunique()
        parts.append(select(part, origin=settings.idxmax()))
    return pd.concat(parts) if parts else rows


CHEAP = 0.95
"""Share of the accuracy that a disturbance has to keep to be called cheap."""
STUDENTS = LABELS["extract_label"]


def _one(rows: pd.DataFrame, **where: Any) -> pd.Series:
    return select(rows, **{"group": STUDENTS} | where).iloc[0]


def _compared(rows: pd.DataFrame, families: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of students by the sibling test, and beside each that of the undisturbed ones."""
    part = select(rows, family=families, group=STUDENTS, score=SIBLINGS)
    start = select(_undisturbed(rows, part), group=STUDENTS, score=SIBLINGS)
    start = start.set_index("origin")
    return part, start.loc[part["origin"]].set_axis(part.index)


def _of(row: pd.Series, column: str = "found") -> str:
    count = row["suspects" if column == "found" else "innocents"]
    return f"{round(row[column] * count)} of {int(count)}"


def _named(row: pd.Series, alike: int) -> str:
    more = f" and {alike - 1} more" if alike > 1 else ""
    return f"{row['family']} ({row['strength']}){more}"


def _auc(row: pd.Series) -> str:
    return str(evaluation.Auc(row["auc"], row["low"], row["high"]))


def sentences(rows: pd.DataFrame) -> list[str]:
    """Five findings of a table, each computed; one that its rows cannot show says so."""
    rows = rows if "origin" in rows else rows.assign(origin="this run")
    found = []
    for finding in (_on_temperature, _on_services, _on_thieves, _on_accusers, _on_betting):
        try:
            found.append(finding(rows))
        except IndexError:  # a run that is not full, and no reference
            found.append("Not measured in this run.")
    return found


def _on_temperature(rows: pd.DataFrame) -> str:
    before, after = (
        [_one(rows, family=family, strength=s, score=score) for score in MAIN]
        for family, s in ((PLAIN, ""), ("temperature", "2"))
    )
    moved = [a["score"] for a, b in zip(before[2:], after[2:], strict=True) if a["auc"] != b["auc"]]
    still = "none of them moves" if not moved else f"of them {', '.join(moved)} moves"
    first, then = _auc(before[0]), _auc(after[0])
    verb, change = (
        ("leaves", f"at {first}") if first == then else ("moves", f"from {first} to {then}")
    )
    return (
        f"A service that divides its logits by 2 changes no label and {verb} the AUC of SAC-w on "
        f"Extract-L, against all innocents, {change}; with matched temperatures it is "
        f"{_auc(after[1])}. Three scores read labels, and {still}."
    )


def _on_services(rows: pd.DataFrame) -> str:
    families = [*services.LABELS_TOUCHED, *services.CHANGED_IMAGES, SHIFTED, PUBLIC]
    part, start = _compared(rows, families)
    cheap = part[part["accuracy"] >= CHEAP * start["accuracy"]]
    kept = f"Of {len(part)} disturbances of labels or questions {len(cheap)} keep {CHEAP:.0%}"
    if len(part) and cheap.empty:
        return f"{kept} of the accuracy."
    worst = cheap.sort_values("found", kind="stable").iloc[0]
    alike, start = int((cheap["found"] == worst["found"]).sum()), start.loc[worst.name]
    if worst["found"] >= start["found"]:
        return f"{kept} of the accuracy, and none of them lowers what the sibling test finds."
    akh, calm = (
        _one(rows, score="AKH", origin=worst["origin"], family=family, strength=strength)
        for family, strength in ((worst["family"], worst["strength"]), (PLAIN, ""))
    )
    return (
        f"{kept} of the accuracy. The sibling test bears {_named(worst, alike)} worst, with "
        f"{_of(worst)} students found that asked for labels in the loop instead of {_of(start)}; "
        f"AKH then finds {_of(akh)} and undisturbed {_of(calm)}."
    )


def _on_thieves(rows: pd.DataFrame) -> str:
    part, start = _compared(rows, list(thieves.TRICKS))
    cheap = part[part["accuracy"] >= start["accuracy"] - 0.01]
    near = "leave the students within one point of the accuracy of ordinary ones"
    if len(part) and cheap.empty:
        return f"Of {len(part)} ways to adapt, 0 {near}."
    worst = cheap.sort_values(["found", "auc"], kind="stable").iloc[0]
    alike, start = int((cheap["found"] == worst["found"]).sum()), start.loc[worst.name]
    return (
        f"Of {len(part)} ways to adapt, {len(cheap)} {near}. With {_named(worst, alike)} the "
        f"sibling test finds {_of(worst)}, at an accuracy of {worst['accuracy']:.1%}; of ordinary "
        f"students it finds {_of(start)}, at {start['accuracy']:.1%}."
    )


def _on_accusers(rows: pd.DataFrame) -> str:
    lied = select(rows, family=ACCUSER, group="Innocents")
    after = select(lied, strength=disputes.PROBES_AFTER).set_index("score")
    dated = select(lied, strength=disputes.BACK_DATED, score=SIBLINGS).iloc[0]
    return (
        f"An accuser who chooses the probes after seeing the suspect makes AKH, on contested "
        f"probes, accuse {_of(after.loc['AKH'])} innocents and the sibling test "
        f"{_of(after.loc[SIBLINGS])}, instead of {_of(after.loc['AKH'], 'accused')} and "
        f"{_of(after.loc[SIBLINGS], 'accused')}; "
        f"one who distils the suspect and dates the student back has the sibling test accuse "
        f"{_of(dated)}, most of them siblings of the source."
    )


def _on_betting(rows: pd.DataFrame) -> str:
    part = select(rows, family=ONE_BY_ONE, group=STUDENTS)
    last = select(part, score=BETTING).iloc[-1]
    fixed = select(part, score=SIBLINGS).iloc[-1]
    return (
        f"With answers asked one at a time, the betting test has accused {_of(last)} students by "
        f"{int(last['strength']):,} answers and {_of(last, 'accused')} innocents until then; the "
        f"fixed sibling test finds {_of(fixed)} with {int(fixed['strength']):,}."
    )
