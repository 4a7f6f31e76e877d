"""Sample correlation: how a model's outputs on pairs of probes relate, and how far two models'
relations are apart.

Outputs have shape (..., probes, classes) and any floating dtype, which is kept; matrices have
shape (..., probes, probes). The formulas follow the released code of Guan et al. (2022).
"""

import torch
import torch.nn.functional as F

FORMS = ("logits", "probabilities", "labels")
"""What a prediction service may show of its logits."""


def to_form(logits: torch.Tensor, form: str) -> torch.Tensor:
    r"""Outputs in one of `FORMS`.

    ``logits`` leaves them as they are, ``probabilities`` is :math:`\mathrm{softmax}(z)`,
    ``labels`` is :math:`\mathrm{softmax}(v)` with :math:`v_k = 1` for the predicted class and 0.01
    elsewhere, as in the released code.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}; accepted are {', '.join(FORMS)}")
    if form == "labels":
        hard = torch.full_like(logits, 0.01)
        logits = hard.scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
    return logits if form == "logits" else logits.softmax(-1)


def top_k(probabilities: torch.Tensor, k: int) -> torch.Tensor:
    """Probabilities of a service that names only the `k` likeliest classes: all others are 0."""
    values, classes = probabilities.topk(k, -1)
    return torch.zeros_like(probabilities).scatter(-1, classes, values)


def cosine_matrix(outputs: torch.Tensor) -> torch.Tensor:
    r"""Correlation matrix by the cosine: :math:`C_{ij} = (1 - \cos(o_i, o_j)) / 2`, a
    *dissimilarity* in [0, 1], symmetric, zero on the diagonal.
    """
    unit = F.normalize(outputs, dim=-1)
    matrix = ((1 - unit @ unit.mT) / 2).clamp(0, 1)
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
    return (suspect - source).abs().mean((-2, -1))


def rms_distance(source: torch.Tensor, suspect: torch.Tensor) -> torch.Tensor:
    r"""Root mean square instead of the mean: :math:`\sqrt{\frac{1}{n^2} \sum_{ij} (C^T_{ij} -
    C^S_{ij})^2}` in [0, 1], as QuRD has it (Godinot et al. 2025, code).

    QuRD takes cosine similarities; with the dissimilarities of :func:`cosine_matrix` the value is
    half of theirs, which changes no order.
    """
    return (suspect - source).square().mean((-2, -1)).sqrt()
