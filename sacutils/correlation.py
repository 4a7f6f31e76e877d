"""Sample correlation: how a model's outputs on pairs of probes relate, and how far two models'
relations are apart.

Outputs have shape (..., probes, classes) and any floating dtype, which is kept; matrices have
shape (..., probes, probes). The formulas follow the released code of Guan et al. (2022) where no
other source is named.
"""

import math

import torch
import torch.nn.functional as F

SERVED = ("logits", "probabilities", "labels")
"""What a prediction service may show of its logits."""
FORMS = {form: form for form in SERVED} | {
    "matched": "matched probabilities",
    "centred": "centred log-probabilities",
}
"""Output forms, with the name that is shown: `SERVED`, and two that are computed from probabilities
and that no temperature of the service changes. Both are proposals of this book, measured in it.
"""
FLOOR = 1e-12
"""Least probability whose logarithm is taken; a service may round smaller ones to zero."""
COLDEST = 1e-8
"""Temperatures are sought between this and its inverse."""


def to_form(logits: torch.Tensor, form: str, source: torch.Tensor | None = None) -> torch.Tensor:
    r"""Outputs in one of `FORMS`.

    ``logits`` leaves them as they are, ``probabilities`` is :math:`\mathrm{softmax}(z)`,
    ``labels`` is :math:`\mathrm{softmax}(v)` with :math:`v_k = 1` for the predicted class and 0.01
    elsewhere, as in the released code. ``matched`` is :math:`\mathrm{softmax}(z / T)` with the
    :func:`matched_temperature` to `source`, the source's logits on the same probes. ``centred`` is
    :math:`\log p - \overline{\log p}`, the mean being over classes, which equals :math:`z -
    \bar z`: a temperature scales such a row and leaves its direction.
    """
    if form not in FORMS or (form == "matched" and source is None):
        needs = "; matched needs the source's logits" if form == "matched" else ""
        raise ValueError(f"form is {form!r}; accepted are {', '.join(FORMS)}{needs}")
    if form == "matched" and source is not None:
        logits = logits / matched_temperature(source, logits)
    if form == "labels":
        hard = torch.full_like(logits, 0.01)
        logits = hard.scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
    if form == "centred":
        return logits - logits.mean(-1, keepdim=True)
    return logits if form == "logits" else logits.softmax(-1)


def log_probabilities(probabilities: torch.Tensor) -> torch.Tensor:
    """Logits of a service that shows probabilities: their logarithms, those below `FLOOR` raised to
    it. They differ from the model's own by a constant in each row and its temperature.
    """
    return probabilities.clamp(min=FLOOR).log()


def matched_temperature(source: torch.Tensor, suspect: torch.Tensor) -> float:
    r"""The temperature at which a suspect is on average as sure as the source: the one :math:`T`
    with :math:`\frac{1}{n} \sum_x \max_k \mathrm{softmax}(z^T(x) / T)_k = \frac{1}{n} \sum_x
    \max_k \mathrm{softmax}(z^S(x))_k`.

    Both are logits or :func:`log_probabilities` on the same n probes, shape (n, classes); classes
    may differ. The left side falls as T grows. Where it never reaches the right one (the source is
    surer than ties allow, or less sure than chance among the suspect's classes), T is the nearer
    end of the range, `COLDEST` or its inverse.
    """
    target, suspect = float(source.double().softmax(-1).amax(-1).mean()), suspect.double()

    def excess(log_temperature: float) -> float:
        shown = (suspect / math.exp(log_temperature)).softmax(-1)
        return float(shown.amax(-1).mean()) - target

    from scipy.optimize import brentq  # a second to import, and trainings do without

    ends = math.log(COLDEST), -math.log(COLDEST)
    if excess(ends[0]) <= 0:
        return COLDEST
    return 1 / COLDEST if excess(ends[1]) >= 0 else math.exp(brentq(excess, *ends, xtol=1e-14))


def top_k(probabilities: torch.Tensor, k: int) -> torch.Tensor:
    """Probabilities of a service that names only the `k` likeliest classes: all others are 0."""
    values, classes = probabilities.topk(k, -1)
    return torch.zeros_like(probabilities).scatter(-1, classes, values)


def cosine_matrix(outputs: torch.Tensor) -> torch.Tensor:
    r"""Correlation matrix by the cosine: :math:`C_{ij} = (1 - \cos(o_i, o_j)) / 2`, a
    *dissimilarity* in [0, 1], symmetric, zero on the diagonal.
    """
    unit = F.normalize(outputs, dim=-1)
    # in place, for a matrix of many probes fills the memory
    matrix = (unit @ unit.mT).neg_().add_(1).div_(2).clamp_(0, 1)
    matrix.diagonal(dim1=-2, dim2=-1).zero_()
    return matrix


def rbf_matrix(outputs: torch.Tensor) -> torch.Tensor:
    r"""Correlation matrix by the Gaussian kernel: :math:`C_{ij} = \exp(-\|u_i - u_j\|^2)` with
    :math:`u = o / \|o\|`, a similarity in [exp(-4), 1], symmetric, one on the diagonal.

    Since :math:`\|u_i - u_j\|^2` is four times the entry of :func:`cosine_matrix`, this is a
    monotone map of it.
    """
    return torch.exp(-4 * cosine_matrix(outputs))


CORRELATIONS = {"cosine": cosine_matrix, "rbf": rbf_matrix}
"""The two correlation matrices by name."""


def distance(source: torch.Tensor, suspect: torch.Tensor) -> torch.Tensor:
    r"""Correlation distance of two matrices: :math:`d = \frac{1}{n^2} \sum_{ij} |C^T_{ij} -
    C^S_{ij}|` in [0, 1], the diagonal included; small means that the suspect is probably stolen.

    Leading dimensions are broadcast and remain.
    """
    return (suspect - source).abs_().mean((-2, -1))


def rms_distance(source: torch.Tensor, suspect: torch.Tensor) -> torch.Tensor:
    r"""Root mean square instead of the mean: :math:`\sqrt{\frac{1}{n^2} \sum_{ij} (C^T_{ij} -
    C^S_{ij})^2}` in [0, 1], as QuRD has it (Godinot et al. 2025, code).

    QuRD takes cosine similarities; with the dissimilarities of :func:`cosine_matrix` the value is
    half of theirs, which changes no order.
    """
    return (suspect - source).square_().mean((-2, -1)).sqrt()


def error_consistency(
    truth: torch.Tensor, source: torch.Tensor, suspect: torch.Tensor
) -> torch.Tensor:
    r"""Cohen's kappa of being wrong together (Geirhos et al. 2020): :math:`(c - e) / (1 - e)` in
    [-1, 1], :math:`c` being the share of probes on which both are right or both wrong, and
    :math:`e = a_S a_T + (1 - a_S)(1 - a_T)` what their accuracies make of it by chance.

    True and predicted labels, int64, shape (..., probes). Zero where one of the two is always right
    or always wrong, as the source is on SAC-source and SAC-w: there kappa says nothing.
    """
    right = (source == truth).double(), (suspect == truth).double()
    a, b = (hits.mean(-1) for hits in right)
    excess = (right[0] == right[1]).double().mean(-1) - (a * b + (1 - a) * (1 - b))
    room = a * (1 - b) + b * (1 - a)
    return torch.where((a * (1 - a) * b * (1 - b)) > 0, excess / room, 0.0)
