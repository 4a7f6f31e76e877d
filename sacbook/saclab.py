"""Sample correlation with NumPy alone: distance, AUC with its interval, and the sibling test.

The module of the lab pack. Its definitions are those of the book's packages: correlation, AUC,
siblings. Answers of a model are logits, shape (probes, classes). All results are float64.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

FORMS = ("logits", "probabilities", "labels")
"""What a service may show of its answers."""
FLOOR = -3.0
"""Least log-probability that a probe adds to a score of the sibling test."""
ICC = 0.8
"""Correlation of two distances in one cluster, for which an interval allows."""
Z95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


def answers(stored: np.ndarray, row: int) -> np.ndarray:
    """Logits of one model from stored ones, shape (models, probes, classes): float64, without the
    columns of NaN that fill up a model with fewer classes.
    """
    logits = stored[row].astype(float)
    return logits[:, ~np.isnan(logits).all(0)]


def in_form(logits: np.ndarray, form: str) -> np.ndarray:
    """Answers in one of `FORMS`, of the same shape: probabilities are softmax(z), and labels are
    softmax(v) with v = 1 for the predicted class and 0.01 elsewhere, as in the released code.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}; accepted are {', '.join(FORMS)}")
    if form == "labels":
        logits = np.where(np.arange(logits.shape[1]) == logits.argmax(1)[:, None], 1.0, 0.01)
    if form == "logits":
        return logits
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def matrix(outputs: np.ndarray) -> np.ndarray:
    """Correlation matrix C_ij = (1 - cos(o_i, o_j)) / 2, shape (probes, probes): 0 for answers that
    are alike, 0.5 for answers without a class in common, 1 for opposite ones.
    """
    lengths = np.linalg.norm(outputs, axis=1, keepdims=True)
    unit = outputs / np.maximum(lengths, 1e-12)
    found = np.clip((1 - unit @ unit.T) / 2, 0, 1)
    np.fill_diagonal(found, 0)
    return found


def distance(source: np.ndarray, suspect: np.ndarray) -> float:
    """Correlation distance of two matrices, 0 to 1: the mean absolute difference of entries. A
    small one speaks for theft.
    """
    return float(np.abs(suspect - source).mean())


def disagreement(source: np.ndarray, suspect: np.ndarray) -> float:
    """Share of probes, 0 to 1, on which two models' answers name unequal labels: the rival AKH."""
    return float((source.argmax(1) != suspect.argmax(1)).mean())


def auc(stolen: np.ndarray, independent: np.ndarray) -> float:
    """Share of the pairs of a stolen and an independent model in which the stolen one has the
    smaller distance; a tie counts one half.
    """
    stolen, independent = np.asarray(stolen)[:, None], np.asarray(independent)
    return float(((stolen < independent) + 0.5 * (stolen == independent)).mean())


def units(alike: Sequence[str]) -> float:
    """Number of unrelated models that models in clusters are worth: n / (1 + ICC (sum n_k^2 / n -
    1)). `alike` names the cluster of each model, see :func:`clusters`.
    """
    sizes = np.unique(alike, return_counts=True)[1]
    n = sizes.sum()
    return float(n / (1 + ICC * (np.square(sizes).sum() / n - 1)))


def clusters(architectures: Sequence[str], chains: Sequence[str]) -> Sequence[str]:
    """Which models of a group are alike: those of one architecture or, if there is only one, those
    of one chain of copies.
    """
    return architectures if len(set(architectures)) > 1 else chains


def interval(value: float, stolen: float, independent: float) -> tuple[float, float]:
    """95 % interval of an AUC for numbers of stolen and independent :func:`units`: Newcombe's
    (2006) method 5. Each bound t lies 1.96 sd(t) from the value; it never shrinks to a point.
    """
    half = (stolen + independent) / 2 - 1

    def lower(value: float) -> float:
        low, high = 0.0, value
        for _ in range(100):  # halve until the bound is found
            t = (low + high) / 2
            bracket = 1 + half * (1 - t) / (2 - t) + half * t / (1 + t)
            variance = t * (1 - t) * bracket / stolen / independent
            low, high = (t, high) if value - t > Z95 * np.sqrt(variance) else (low, t)
        return low

    return lower(value), 1 - lower(1 - value)


def scores(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How well each member (the source, then its siblings) explains the labels of each suspect, in
    [-3, 0], shape (suspects, members): the mean over probes of max(log p_j(y), -3).

    `log_p` are log-probabilities, (members, probes, classes), and `labels` integers, (suspects,
    probes).
    """
    chosen = log_p.astype(float)[:, np.arange(log_p.shape[1]), labels]
    return np.maximum(chosen, FLOOR).mean(-1).T


def _against_others(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each member's excess over the others' mean, and its regressors: that mean, and the others'
    deviations from it.
    """
    others = 1 - np.eye(s.shape[-1])
    mean = s @ others / (s.shape[-1] - 1)
    apart = (s[:, None, :] - mean[:, :, None]) * others
    return s - mean, np.concatenate([mean[:, :, None], apart], -1)


def residuals(suspects: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Scores of suspects, (suspects, members), less what the scores of controls, (controls,
    members), let one expect: a ridge regression for each member, all members treated alike.
    """
    q, m = controls.shape
    centre = controls.mean(0)
    a, z = _against_others(controls - centre)
    scale = np.square(z).mean(0)
    scale[:, 1:] = scale[:, 1:].sum(1, keepdims=True) / (m - 1)
    scale = np.sqrt(scale)
    z = (z / scale).swapaxes(0, 1)
    normal = z.swapaxes(1, 2) @ z + q * np.eye(m + 1)
    b = np.linalg.solve(normal, z.swapaxes(1, 2) @ a.T[:, :, None])[:, :, 0]
    a, z = _against_others(suspects - centre)
    return a - (z / scale * b).sum(-1)


def t_tail(t: np.ndarray, degrees: int) -> np.ndarray:
    """Chance that Student's t with some degrees of freedom is at least `t`: with t = sqrt(degrees)
    tan(angle), the area under cos(angle)^(degrees - 1) by Gauss and Legendre's rule.
    """
    nodes, weights = np.polynomial.legendre.leggauss(100)

    def area(start: np.ndarray) -> np.ndarray:
        half = (np.pi / 2 - start) / 2
        angles = start[..., None] + half[..., None] * (nodes + 1)
        return half * (np.cos(angles) ** (degrees - 1) @ weights)

    return area(np.arctan(t / np.sqrt(degrees))) / area(np.array(-np.pi / 2))


def upper_tail(value: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Chance that one more draw from a normal sample, (..., n), is at least `value`, (...); 1 where
    the sample has no spread to judge by.
    """
    n = sample.shape[-1]
    spread = sample.std(-1, ddof=1) * np.sqrt(1 + 1 / n)
    t = (value - sample.mean(-1)) / np.where(spread > 0, spread, 1)
    return np.where(spread > 0, t_tail(t, n - 1), 1.0)


def p_value(suspects: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """P-value of each suspect against "made without the source", from :func:`scores` whose first
    column is the source's: the larger of two tails of the source's residual, among those of the
    siblings and among those of the controls.
    """
    own = residuals(suspects, controls)
    rows = np.arange(len(controls))
    among = [residuals(controls[[i]], controls[rows != i])[0, 0] for i in rows]
    return np.maximum(
        upper_tail(own[:, 0], own[:, 1:]),
        upper_tail(own[:, 0], np.broadcast_to(among, (len(own), len(among)))),
    )


def check(
    name: str,
    yours: Callable[[], Any],
    right: Any,
    *slips: tuple[Any, str],
    within: float = 1e-9,
) -> None:
    """Say whether a result is right; `slips` are wrong results with their hints."""
    found = None
    try:
        given = yours()
    except Exception as error:
        hint = f"Your code stops with {type(error).__name__}: {error}"
    else:
        hint = "Nothing is there yet." if given is None else f"Found {given!r}, which is no number"
        with suppress(ValueError, TypeError):  # lists whose rows differ in length
            array = np.asarray(given)
            if array.dtype.kind in "biuf":
                found, hint = array, f"Found {np.round(array, 4)}"
    for value, meaning in ((right, ""), *slips):
        same = found is not None and np.shape(found) == np.shape(value)
        if same and np.allclose(np.asarray(found, float), value, atol=within):
            print(f"Not yet: {name}. {meaning}" if meaning else f"OK: {name}")
            return
    print(f"Not yet: {name}. {hint}")


def damaged(folder: Path = Path()) -> list[str]:
    """Files of the pack that are missing or are not what ``checksums.txt`` says."""
    lines = (folder / "checksums.txt").read_text(encoding="utf-8").splitlines()
    stated = dict(line.split("  ")[::-1] for line in lines)
    there = {name for name in stated if (folder / name).exists()}
    return [n for n in stated if n not in there or digest(folder / n) != stated[n]]


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def seal(text: str, code: str) -> str:
    """A text that nobody reads by accident; whoever wants to can try all codes."""
    return base64.b64encode(_mask(f"sealed {text}".encode(), code)).decode()


def unseal(sealed: str, code: str) -> str:
    """The text of a seal; a ValueError if the code is another."""
    text = _mask(base64.b64decode(sealed), str(code).strip()).decode(errors="replace")
    if not text.startswith("sealed "):
        raise ValueError("this code does not open the seal")
    return text[7:]


def _mask(data: bytes, code: str) -> bytes:
    blocks = (hashlib.sha256(f"{code} {i}".encode()).digest() for i in range(len(data) // 32 + 1))
    stream = np.frombuffer(b"".join(blocks), np.uint8)[: len(data)]
    return (np.frombuffer(data, np.uint8) ^ stream).tobytes()
