"""The sibling test on a zoo: who is judged against whom, and the same numbers by hand."""

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sacutils import siblings, steps
from sacutils.studies import references, verdicts
from sacutils.studies.tables import over_sources
from sacutils.studies.verdicts import choose

SOURCE = "source(vgg_bn_s)#0"
SIBLINGS = [f"sibling(vgg_bn_s)#{i}" for i in range(12)]
CONTROLS = ["control_student", "control_owner", "control_owner_plain", "control_reserve"]
P_VALUES = ["p_siblings", "rank_p", "p_controls", "p"]


# Which candidates are asked about


def chosen_slowly(labels: list[list[int]], images: int, count: int) -> list[int]:
    columns = list(zip(*labels, strict=True))
    agreeing = [max(column.count(label) for label in column) for column in columns]
    order = sorted(range(len(columns)), key=lambda x: (agreeing[x], x))
    chosen: list[int] = []
    for candidate in order:
        if count > images / 4 or candidate % images not in {other % images for other in chosen}:
            chosen.append(candidate)
    return chosen[:count]


asked = st.tuples(st.integers(1, 5), st.integers(1, 12), st.integers(1, 4)).flatmap(
    lambda sizes: st.tuples(
        arrays("int64", (sizes[0], sizes[1] * sizes[2]), elements=st.integers(0, 3)),
        st.just(sizes[1]),
        st.integers(1, sizes[1] * sizes[2]),
        st.permutations(range(sizes[0])),
    )
)


@given(asked)
def test_choice_is_that_of_a_slow_version_and_symmetric_in_the_members(case):
    drawn, images, count, order = case
    labels = torch.from_numpy(drawn)
    chosen = choose(labels, images, count)
    assert chosen.dtype == torch.int64
    assert chosen.tolist() == chosen_slowly(drawn.tolist(), images, count)
    assert torch.equal(choose(labels[list(order)], images, count), chosen)


def test_one_view_of_an_image_up_to_a_quarter_of_the_images_and_the_most_contested_beyond():
    # four views of each of 40 images: the members are at odds over all views of images 0 to 4 only
    labels = torch.zeros(3, 160, dtype=torch.int64)
    labels[0] = (torch.arange(160) % 40 < 5).long()
    few, more = choose(labels, 40, 10), choose(labels, 40, 11)
    assert (few % 40).tolist() == list(range(10)) and few.max() < 40
    assert torch.equal(more, siblings.contested(labels, 11)) and (more % 40 < 5).all()


def test_candidates_are_the_images_kept_from_the_source_and_views_of_them(run):
    pixels, splits = verdicts.candidates(run), run.material.splits
    kept = torch.cat([splits["probe"].pixels, splits["reserve"].pixels])
    assert pixels.dtype == torch.uint8 and len(pixels) == 4 * len(kept) == 2800
    assert torch.equal(pixels[:700], kept) and torch.equal(pixels, verdicts.candidates(run))
    views = pixels[700:].unflatten(0, (3, 700))
    # smoke shifts by at most one pixel and does not flip
    padded = torch.nn.functional.pad(kept, (1, 1, 1, 1))
    shifts = [padded[:, :, y : y + 16, x : x + 16] for y in range(3) for x in range(3)]
    for view in views:
        is_shift = torch.stack([(view == shift).flatten(1).all(1) for shift in shifts])
        assert is_shift.any(0).all() and is_shift[4].double().mean() < 0.3
    assert not torch.equal(views[0], views[1])


# Who is judged


def test_members_and_suspects(run):
    assert verdicts.members(run) == [SOURCE, *SIBLINGS]
    judged = verdicts.suspects(run)
    kinds = {spec.step for spec in judged}
    new_labels = {"transfer_all", "transfer_last", "independent_transfer"}
    roles = {"stolen", "independent"}
    assert kinds == {name for name, s in steps.STEPS.items() if s.role in roles} - new_labels
    assert len(judged) == 62 and len({spec.name for spec in judged}) == 62


def test_style_says_how_a_suspect_was_made_from_another_model(run):
    for spec in verdicts.suspects(run):
        assert (spec.step in verdicts.STYLE_OF) == (spec.parent is not None)
    assert len(verdicts.STYLE_OF) == sum(map(len, verdicts.STYLES.values()))
    # students of another are made in the same way as Extract-L
    others = ("student_of_sibling", "student_of_stranger")
    assert {verdicts.STYLE_OF[step] for step in others} == {verdicts.STYLE_OF["extract_label"]}


@pytest.fixture(scope="module")
def table(run):
    return verdicts.table(run)


def test_columns_and_rows_of_the_table(run, table):
    names = ["regime", "accused", "suspect", "group", "style", "derived", "form", "n_probes"]
    assert list(table.columns) == [*names, *P_VALUES]
    assert set(table["regime"]) == {"one augmentation"} and table["derived"].dtype == bool
    suspects = {spec.name for spec in verdicts.suspects(run)}
    settings = table.groupby(["form", "n_probes"])
    assert set(settings.groups) == {(f, n) for f in verdicts.FORMS for n in (100, 300)}
    for setting, rows in settings:
        of_source = rows[rows["accused"] == "source"]
        assert set(of_source["suspect"]) == suspects and len(of_source) == 62
        if setting != ("labels", 300):
            assert len(rows) == 62
            continue
        # every member is accused of every suspect but itself
        accused = set(zip(rows["accused"], rows["suspect"], strict=True))
        wanted = {(a, b) for a in ["source", *SIBLINGS] for b in suspects if a != b}
        assert accused == wanted and len(rows) == len(wanted) == 62 * 13 - 12
    for column in P_VALUES:
        assert table[column].between(0, 1).all()
    assert (table["p"] == table[["p_siblings", "p_controls"]].max(axis=1)).all()
    labels = {spec.name: steps.LABELS[spec.step] for spec in verdicts.suspects(run)}
    assert (table["group"] == table["suspect"].map(labels)).all()


def test_derived_is_true_for_what_was_made_from_the_accused_and_for_nothing_else(table):
    history = table["suspect"].str.split(" > ")
    accused = table["accused"].replace("source", SOURCE)
    pairs = zip(history, accused, strict=True)
    made = [len(parts) > 1 and parts[0] == name for parts, name in pairs]
    assert table["derived"].tolist() == made
    pairs = table.loc[table["derived"] & (table["accused"] != "source"), ["accused", "suspect"]]
    assert pairs.to_numpy().tolist() == [
        [SIBLINGS[i], f"{SIBLINGS[i]} > student_of_sibling({kind})#0"]
        for i, kind in enumerate(("resnet_s", "densenet_s", "mobilenet_s"))
    ]


# The same numbers by hand


def by_hand(run, accused: str, suspect: str, form: str, count: int) -> dict[str, float]:
    """One row from the stored answers: members are the source and the siblings, less the one that
    the suspect is or was made from (of a stolen model the source), unless that one is accused.
    """
    known = verdicts.answers(run)
    index = known[f"probes {count}"]
    own, accused = [SOURCE, *SIBLINGS], SOURCE if accused == "source" else accused
    origin = suspect.split(" > ")[0]
    if origin in own and origin != accused:
        own.remove(origin)
    members = torch.stack([known[name][index].double().log_softmax(1) for name in own])

    def score(name: str) -> torch.Tensor:
        logits = known[name][index].double()
        return siblings.scores(members, logits.argmax(1) if form == "labels" else logits.softmax(1))

    controls = [spec.name for spec in run.zoo.specs.values() if spec.step in CONTROLS]
    j = own.index(accused)
    found = siblings.sibling_test(score(suspect), torch.stack([*map(score, controls)]), member=j)
    return {name: getattr(found, name).item() for name in P_VALUES}


STUDENT = f"{SIBLINGS[0]} > student_of_sibling(resnet_s)#0"


@pytest.mark.parametrize(
    ("accused", "suspect", "form", "count"),
    [
        ("source", f"{SOURCE} > extract_label(resnet_s)#0", "labels", 300),
        ("source", f"{SOURCE} > extract_label(resnet_s)#0", "labels", 100),
        ("source", f"{SOURCE} > prune(40%)#0", "probabilities", 100),
        ("source", "independent(resnet_s)#1", "probabilities", 300),
        (SIBLINGS[0], STUDENT, "labels", 300),
        ("source", STUDENT, "labels", 300),
        (SIBLINGS[1], STUDENT, "labels", 300),
        ("source", STUDENT, "probabilities", 100),
        ("source", SIBLINGS[0], "labels", 300),
        (SIBLINGS[3], SIBLINGS[1], "labels", 300),
        # the names of these begin with that of sibling 1
        ("source", SIBLINGS[10], "labels", 300),
        (SIBLINGS[1], SIBLINGS[10], "labels", 300),
        (SIBLINGS[10], SIBLINGS[11], "labels", 300),
        ("source", SIBLINGS[11], "probabilities", 300),
        (SIBLINGS[1], f"{SOURCE} > extract_label(resnet_s)#0", "labels", 300),
    ],
)
def test_row_by_hand_from_the_stored_answers(run, table, accused, suspect, form, count):
    rows = table[(table["accused"] == accused) & (table["suspect"] == suspect)]
    (row,) = rows[(rows["form"] == form) & (rows["n_probes"] == count)][P_VALUES].to_dict("records")
    assert row == pytest.approx(by_hand(run, accused, suspect, form, count), abs=1e-9)


def test_teacher_among_the_members_would_change_the_judgement_of_its_student(run, table):
    theirs, controls = verdicts.scored(run)
    (position,) = [i for i, spec in enumerate(verdicts.suspects(run)) if spec.name == STUDENT]
    with_teacher = siblings.sibling_test(theirs[position], controls).p_siblings.item()
    rows = table[(table["suspect"] == STUDENT) & (table["accused"] == "source")]
    (row,) = rows[(rows["form"] == "labels") & (rows["n_probes"] == 300)].to_dict("records")
    assert abs(row["p_siblings"] - with_teacher) > 1e-4


@pytest.mark.parametrize("form", verdicts.FORMS)
def test_further_suspects_change_no_row(run, table, monkeypatch, form):
    known, everybody = verdicts.answers(run), verdicts.suspects(run)
    monkeypatch.setattr(verdicts, "suspects", lambda run: everybody[::7])
    monkeypatch.setattr(verdicts, "answers", lambda run: known)
    fewer = pd.DataFrame(list(verdicts._rows(run, form, 300)))
    all_rows = table[(table["form"] == form) & (table["n_probes"] == 300)]
    same = all_rows[all_rows["suspect"].isin({spec.name for spec in everybody[::7]})]
    assert len(fewer) == len(same) < len(all_rows)
    pd.testing.assert_frame_equal(fewer, same.reset_index(drop=True), rtol=0, atol=1e-9)


def test_table_is_loaded_the_second_time(run, table, monkeypatch):
    monkeypatch.setattr(verdicts, "_rows", None)
    monkeypatch.setattr(verdicts, "make_answers", None)
    pd.testing.assert_frame_equal(verdicts.table(run), table)


# Shares of suspects that a level accuses


def test_shares_count_the_accusations_of_the_source_over_the_seeds():
    columns = ["seed", "accused", "derived", "group", "p"]
    rows = [
        (0, "source", True, "Extract-L", 0.001),
        (0, "source", True, "Extract-L", 0.01),
        (1, "source", True, "Extract-L", 0.02),
        (1, "source", True, "Extract-L", 0.5),
        (0, "source", False, "Sibling", 0.3),
        (0, SIBLINGS[0], False, "Sibling", 0.001),
    ]
    frame = pd.DataFrame(rows, columns=columns).assign(regime="r", form="labels", n_probes=300)
    shares = verdicts.shares(frame).set_index("group")
    found = shares[["suspects", "sources", "found", "share"]].T.to_dict("list")
    assert found == {"Extract-L": [4, 2, 2, 0.5], "Sibling": [1, 1, 0, 0.0]}
    assert verdicts.shares(frame, 0.1).set_index("group").loc["Extract-L", "found"] == 3
    assert set(verdicts.shares(frame.drop(columns="seed"))["sources"]) == {1}


def test_accusations_in_the_form_of_distances_give_the_auc_by_counting(run, table):
    rows = verdicts.as_distances(table.assign(seed=0)).set_index("model")
    assert rows.index.is_unique and set(rows.index) == {s.name for s in verdicts.suspects(run)}
    assert set(rows["step"]) <= set(steps.STEPS)
    most = table["n_probes"].max()
    own = table[(table["accused"] == "source") & (table["form"] == "labels")]
    p = own[own["n_probes"] == most].set_index("suspect")["p_siblings"]
    stolen, others = (
        [p[name] for name in run.names(step)] for step in ("extract_label", "independent")
    )
    pairs = [(a < b) + (a == b) / 2 for a in stolen for b in others]
    found = over_sources(rows.reset_index(), "extract_label", "attacker data")
    assert found["auc"] == pytest.approx(sum(pairs) / len(pairs))


def test_a_rehearsal_is_a_student_of_a_sibling_that_is_accused_as_such():
    table = references.load("fashion")["verdicts"]
    expected: dict[int, list[bool]] = {}
    for row in table.to_dict("records"):
        if row["accused"] != "source" and row["suspect"].startswith(f"{row['accused']} > "):
            expected.setdefault(row["seed"], []).append(row["p"] <= 0.01)
    rows = verdicts.rehearsals(table)
    assert {seed: part["hit"].tolist() for seed, part in rows.groupby("seed")} == expected
    found = rows.assign(run=rows["seed"].map("run {}".format))
    told = [f"{sum(hits)} of {len(hits)} on run {seed}" for seed, hits in sorted(expected.items())]
    assert verdicts.by_run(found) == ", ".join(told) and len(told) == 5


def test_the_level_of_a_member_counts_models_that_come_from_nobody_it_could_be_blamed_for():
    table = references.load("fashion")["verdicts"]
    labels = table[table["form"] == "labels"].to_dict("records")
    stolen = {
        (r["seed"], r["suspect"]) for r in labels if r["accused"] == "source" and r["derived"]
    }
    expected: dict[tuple[int, str], list[bool]] = {}
    for row in labels:
        most = row["accused"] != "source" or row["n_probes"] == 4000
        if most and not row["derived"] and (row["seed"], row["suspect"]) not in stolen:
            expected.setdefault((row["seed"], row["accused"]), []).append(row["p"] <= 0.01)
    found = verdicts.members_level(table).set_index(["seed", "accused"])
    assert len(found) == len(expected) == 100
    for where, hits in expected.items():
        assert tuple(found.loc[where, ["hits", "innocents"]]) == (sum(hits), len(hits))
    assert found.loc[(0, "source"), "innocents"] == 57


# Probes of one split alone


def test_probes_of_one_split_are_views_of_its_images_and_as_many_of_each(run, monkeypatch):
    seen = []
    plain = verdicts._rows
    monkeypatch.setattr(verdicts, "_rows", lambda *given: (seen.append(given), plain(*given))[1])
    table = verdicts.by_split(run)
    known, candidates = verdicts.answers(run), verdicts.candidates(run)
    for (_, form, count, index), split in zip(seen, ("probe", "reserve"), strict=True):
        rows = table[table["split"] == split]
        assert form == "labels" and len(index) == len(index.unique()) == count
        assert set(rows["n_probes"]) == {count} and set(rows["accused"]) == {"source"}
        assert rows["suspect"].tolist() == [spec.name for spec in verdicts.suspects(run)]
        # images that a split holds as they are lie in its block of the unshifted candidates
        n = len(run.material.splits["probe"].labels)
        block = slice(0, n) if split == "probe" else slice(n, None)
        images = len(candidates) // (1 + run.profile.probes.views)
        assert set((known["asked"][index] % images).tolist()) <= set(range(images)[block])
