"""Sample correlation: how a model's outputs on pairs of probes relate, and how far two models' relations are apart.

Pure tensor functions. The formulas follow the released code of Guan et al. (2022).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

FORMS = ("logits", "probabilities", "labels")


def to_form(logits: torch.Tensor, form: str) -> torch.Tensor:
    r"""What a prediction service of a given kind would show of these logits.

    ``logits`` leaves them as they are, ``probabilities`` is :math:`\mathrm{softmax}(z)`, ``labels`` is
    :math:`\mathrm{softmax}(v)` with :math:`v_k = 1` for the predicted class and 0.01 elsewhere, as in the released code.

    Parameters
    ----------
    logits : torch.Tensor
        Shape (..., n, classes).
    form : {"logits", "probabilities", "labels"}
        The output form.

    Returns
    -------
    torch.Tensor
        The same shape and dtype.
    """
    match form:
        case "logits":
            return logits
        case "probabilities":
            return logits.softmax(-1)
        case "labels":
            hard = torch.full_like(logits, 0.01)
            return hard.scatter(-1, logits.argmax(-1, keepdim=True), 1.0).softmax(-1)
    raise ValueError(f"form is {form!r}; accepted are {', '.join(FORMS)}")


def top_k(probabilities: torch.Tensor, k: int) -> torch.Tensor:
    """Probabilities of a service that names only the `k` likeliest classes: all others are 0."""
    values, places = probabilities.topk(k, -1)
    return torch.zeros_like(probabilities).scatter(-1, places, values)


def cosine_matrix(outputs: torch.Tensor) -> torch.Tensor:
    r"""Correlation matrix by the cosine: :math:`C_{ij} = (1 - \cos(o_i, o_j)) / 2`.

    Parameters
    ----------
    outputs : torch.Tensor
        Outputs :math:`o` in any form, floating point, shape (..., n, classes).

    Returns
    -------
    torch.Tensor
        Shape (..., n, n), in [0, 1], symmetric, zero on the diagonal: a *dissimilarity*.
    """
    unit = F.normalize(outputs, dim=-1)
    matrix = ((1 - unit @ unit.mT) / 2).clamp(0, 1)
    matrix.diagonal(dim1=-2, dim2=-1).zero_()
    return matrix


def rbf_matrix(outputs: torch.Tensor) -> torch.Tensor:
    r"""Correlation matrix by the Gaussian kernel: :math:`C_{ij} = \exp(-\|u_i - u_j\|^2)` with :math:`u = o / \|o\|`.

    Since :math:`\|u_i - u_j\|^2` is four times the cosine entry, this is a monotone map of :func:`cosine_matrix`, and a
    similarity.

    Parameters
    ----------
    outputs : torch.Tensor
        Outputs :math:`o` in any form, floating point, shape (..., n, classes).

    Returns
    -------
    torch.Tensor
        Shape (..., n, n), in [exp(-4), 1], symmetric, one on the diagonal.
    """
    return torch.exp(-4 * cosine_matrix(outputs))


CORRELATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"cosine": cosine_matrix, "rbf": rbf_matrix}
"""The two correlation matrices by name."""


def distance(source: torch.Tensor, suspect: torch.Tensor) -> torch.Tensor:
    r"""Correlation distance: :math:`d = \frac{1}{n^2} \sum_{ij} |C^T_{ij} - C^S_{ij}|`, the diagonal included.

    Parameters
    ----------
    source, suspect : torch.Tensor
        Correlation matrices of the same probes, shape (..., n, n); leading dimensions are broadcast.

    Returns
    -------
    torch.Tensor
        Shape (...), in [0, 1]. Small means that the suspect is probably stolen.
    """
    return (suspect - source).abs().mean((-2, -1))


def rms_distance(source: torch.Tensor, suspect: torch.Tensor) -> torch.Tensor:
    r"""Root mean square instead of the mean: :math:`\sqrt{\frac{1}{n^2} \sum_{ij} (C^T_{ij} - C^S_{ij})^2}`, as QuRD has it.

    QuRD (Godinot et al. 2025, code) takes cosine similarities; with the dissimilarities of :func:`cosine_matrix` the value is
    half of theirs, which changes no order.

    Parameters
    ----------
    source, suspect : torch.Tensor
        Correlation matrices of the same probes, shape (..., n, n).

    Returns
    -------
    torch.Tensor
        Shape (...), in [0, 1].
    """
    return (suspect - source).square().mean((-2, -1)).sqrt()
