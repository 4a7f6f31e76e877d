r"""The sibling test: whether the source explains a suspect better than its own retrainings do.

Members are the source and its k siblings (the owner's recipe and data, other seeds); scores and
residuals are float64 with one column a member, m = k + 1 in all. If the suspect was made without
the source, the members are exchangeable given the suspect, whatever its style, data or teacher:
probes, score and correction treat them alike, and no control was made from a member. P-values from
copies of the owner's own training run are due to Zhu et al. (2025, from weights) and Kuditipudi et
al. (2025, from text); here the copies are full retrainings of a classifier that shows labels.
"""

from typing import NamedTuple

import torch
from scipy.special import stdtr

FLOOR = -3.0
"""Least log-probability that a probe adds to a score, so that no single probe decides."""
FEWEST_SIBLINGS = 12
"""Siblings that a verdict needs. The Student-t form trusts a normal shape beyond what any sibling
shows, 2.8 SD from the mean for 12 siblings at level 0.01 and 4.1 SD for 5, and its rate of false
accusations was measured with 12 and 19 only.
"""
FEWEST_CONTROLS = 10
"""Controls that a verdict needs: the fewest tried with success; with 3 the guard was of no use."""
DERIVATION, NO_EVIDENCE = "derivation", "no evidence of derivation"
NOT_DECIDABLE = "not decidable"


class SiblingTest(NamedTuple):
    """P-values in [0, 1], float64; see :func:`sibling_test`."""

    p_siblings: torch.Tensor
    rank_p: torch.Tensor
    p_controls: torch.Tensor
    p: torch.Tensor


def disagreement(labels: torch.Tensor) -> torch.Tensor:
    """One minus the share of the commonest label: labels, int64 (members, candidates), to float64
    (candidates,) in [0, 1). Neither the members' order nor the classes' names matter.
    """
    if labels.ndim != 2 or not len(labels):
        raise ValueError(f"labels have shape {tuple(labels.shape)}, not (members, candidates)")
    commonest = (labels[:, None] == labels).sum(0).amax(0)
    return 1 - commonest.double() / len(labels)


def contested(labels: torch.Tensor, count: int) -> torch.Tensor:
    """Indices, int64 (count,), of the candidates with the highest :func:`disagreement`, the source
    being one member among all; ties keep the candidates' order.
    """
    if not 0 < count <= labels.shape[-1]:
        raise ValueError(f"count is {count}; accepted are 1 to {labels.shape[-1]}")
    return disagreement(labels).argsort(descending=True, stable=True)[:count]


def scores(log_probabilities: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    r"""How well each member explains a suspect's labels: :math:`s_j = \frac{1}{n} \sum_x
    \max(\log p_j(y(x) \mid x), -3)`, shape (..., m), in [-3, 0].

    Probabilities :math:`q` take the place of the one-hot label, :math:`s_j = \frac{1}{n} \sum_x
    \sum_c q_c(x) \max(\log p_j(c \mid x), -3)`: the mean score of labels drawn from them, and the
    same number if each is 0 or 1.

    `log_probabilities` are the members' at temperature 1, (m, probes, classes); `answers` are
    labels, int64 (..., probes), or probabilities, floating (..., probes, classes). A ValueError if
    shapes do not fit, probabilities do not sum to 1, or a label names no class.
    """
    log_p = log_probabilities.double()
    if log_p.ndim != 3 or not (log_p.logsumexp(-1).abs() < 1e-3).all():
        raise ValueError(
            "log_probabilities are not log-softmax of shape (members, probes, classes)"
        )
    probes, classes = log_p.shape[1:]
    labels = not answers.is_floating_point()
    mass = (answers[..., None] == torch.arange(classes) if labels else answers).double()
    shaped = mass.shape[-2:] == (probes, classes)
    if not (shaped and (mass >= 0).all() and ((mass.sum(-1) - 1).abs() < 1e-3).all()):
        accepted = f"labels 0 to {classes - 1} or probabilities of {classes} classes that sum to 1"
        raise ValueError(f"answers must be, for each of {probes} probes, {accepted}")
    return mass.flatten(-2) @ log_p.clamp(min=FLOOR).flatten(-2).T / probes


def residuals(suspects: torch.Tensor, controls: torch.Tensor, ridge: float = 1.0) -> torch.Tensor:
    r"""Scores less what the controls let one expect, since some members agree with anybody more
    than others do; each member :math:`j` is treated alike.

    Its excess over the mean of the others, :math:`a_j = s_j - \bar s_{-j}`, is regressed over the
    :math:`q` controls on :math:`\bar s_{-j}`, scaled to SD 1, and on the others' deviations
    :math:`s_i - \bar s_{-j}`, scaled by one common SD; all are centred on the controls' means, an
    SD is the root of a mean square, and :math:`b = (Z^\top Z + \lambda q I)^{-1} Z^\top a`. The
    residual is :math:`a_j - z b`, with the suspect's :math:`a_j` and :math:`z` centred likewise.

    Suspects (..., m) and controls (q, m), or (..., q, m) with leading dimensions that broadcast,
    give (..., m); `ridge` is :math:`\lambda`. A ValueError if shapes do not fit, a value is not
    finite, the controls do not differ, or there are fewer than 3 members or 2 controls.
    """
    q, m = controls.shape[-2:] if controls.ndim > 1 else (0, 0)
    if q < 2 or m < 3 or suspects.shape[-1:] != (m,):
        found = f"suspects {tuple(suspects.shape)} and controls {tuple(controls.shape)}"
        raise ValueError(f"{found} are not scores of 3 or more members and 2 or more controls")
    if not (suspects.isfinite().all() and controls.isfinite().all()):
        raise ValueError("scores must be finite")
    centre = controls.double().mean(-2)
    a, z = _against_others(controls - centre[..., None, :])
    scale = z.square().mean(-3)
    scale[..., 1:] = scale[..., 1:].sum(-1, keepdim=True) / (m - 1)
    scale = scale.sqrt()
    if not scale.min() > 1e-9:
        raise ValueError("the controls' scores do not differ: they cannot correct anything")
    z = (z / scale[..., None, :, :]).movedim(-2, -3)
    penalty = ridge * q * torch.eye(m + 1, dtype=torch.float64)
    b = torch.linalg.solve(z.mT @ z + penalty, z.mT @ a.mT[..., None])[..., 0]
    a, z = _against_others(suspects - centre)
    return a - (z / scale * b).sum(-1)


def _against_others(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each member j its excess over the others' mean, (..., m), and the regressors, (..., m,
    m + 1): that mean, then the others' deviations from it, with a zero for j itself.
    """
    others = 1 - torch.eye(scores.shape[-1], dtype=torch.float64)
    mean = scores @ others / others[0].sum()
    apart = (scores[..., None, :] - mean[..., None]) * others
    return scores - mean, torch.cat([mean[..., None], apart], -1)


def control_residuals(controls: torch.Tensor, ridge: float = 1.0) -> torch.Tensor:
    """Residuals of each control, the correction being refitted without it: (..., q, m) to the same
    shape; a ValueError as for :func:`residuals`, or if there are fewer than 3 controls.
    """
    if controls.ndim < 2 or controls.shape[-2] < 3:
        raise ValueError(f"controls have shape {tuple(controls.shape)}; 3 or more are needed")
    return residuals(controls, controls[..., all_but_one(controls.shape[-2]), :], ridge)


def all_but_one(n: int) -> torch.Tensor:
    """Indices, (n, n - 1): row i names all but i."""
    return torch.arange(n).expand(n, n)[~torch.eye(n, dtype=torch.bool)].view(n, n - 1)


def upper_tail(value: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
    r"""Chance that one more draw from a normal sample (..., n) is at least `value` (...):
    :math:`t = (v - \bar x) / (\mathrm{sd}\,\sqrt{1 + 1/n})` has n - 1 degrees of freedom. It is 1
    where the sample has no spread to judge by.
    """
    n = sample.shape[-1]
    spread = sample.std(-1) * (1 + 1 / n) ** 0.5
    t = torch.where(spread > 0, (value - sample.mean(-1)) / spread, -torch.inf)
    return torch.as_tensor(stdtr(n - 1, -t.numpy()))  # Student's t; scipy.stats is slow to import


def sibling_test(
    suspects: torch.Tensor, controls: torch.Tensor, member: int | None = 0
) -> SiblingTest:
    r"""P-values of each suspect against the null that it was made without one member.

    ``p_siblings`` is the :func:`upper_tail` of that member's residual among the others', its
    siblings: a Student-t form, approximate, and right on average over owners, not for each one.
    ``rank_p``, :math:`(1 + \#\{r_i \ge r_j\}) / m`, needs exchangeability alone. ``p_controls`` is
    the upper tail of the residual among :func:`control_residuals`, a guard against what all
    innocents share. ``p`` is the larger of ``p_siblings`` and ``p_controls``.

    Suspects and controls are scores as in :func:`residuals`; each suspect is judged by itself.
    `member` is the column accused, and results have shape (...); None accuses every member in turn,
    and they have shape (..., m).
    """
    r, among = residuals(suspects, controls), control_residuals(controls)
    siblings = r[..., all_but_one(r.shape[-1])]
    p_siblings, p_controls = upper_tail(r, siblings), upper_tail(r, among.mT)
    rank_p = (1 + (siblings >= r[..., None]).sum(-1)).double() / r.shape[-1]
    found = (p_siblings, rank_p, p_controls, torch.maximum(p_siblings, p_controls))
    accused = slice(None) if member is None else member
    return SiblingTest(*(values[..., accused] for values in found))


def verdict(p: float, alpha: float, siblings: int, controls: int) -> str:
    """The verdict in words from the larger p-value at level `alpha`, given the numbers of siblings
    and controls behind it; a ValueError if `p` or `alpha` is no probability.
    """
    if not (0 <= p <= 1 and 0 < alpha < 1):
        raise ValueError(f"p is {p} and alpha is {alpha}; accepted are probabilities")
    if siblings < FEWEST_SIBLINGS or controls < FEWEST_CONTROLS:
        return NOT_DECIDABLE
    return DERIVATION if p <= alpha else NO_EVIDENCE
