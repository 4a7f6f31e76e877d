r"""Nine fingerprints beside SAC, each in three steps: queries, a representation of the answers, a distance.

*Queries* are 8-bit images, because that is what a prediction service accepts. A *representation* turns a model's logits
for them, shape (probes, queries per probe, classes), into what is compared; a *distance* compares the source's with a
suspect's. Small means that the suspect is probably stolen. What the tables call a budget of `n` probes is `n` images that
the owner selects; the number of queries is `n` times the queries per probe.

=================  ================================  ===============================================  ======================
name               queries                           what is compared                                 key in references.bib
=================  ================================  ===============================================  ======================
Random             plain images                      labels                                           ``godinot2025qurd``
AKH                the source's mistakes             labels                                           ``godinot2025qurd``
IPGuard            images at the source's boundary   labels                                           ``cao2021ipguard``
CAE                conferrable adversarial examples  labels                                           ``lukas2021cae``
EWE                images with the trigger           share of the secret label                        ``jia2021ewe``
ModelDiff          images and adversarial twins      how far the answer moves from image to twin      ``li2021modeldiff``
FBI                plain images                      labels, by what one tells about the other        ``maho2022fbi``
Zest               images with parts masked          which parts raise which class                    ``jia2022zest``
Dataset Inference  walks away from an image          whether training images lie deeper in the class  ``maini2021dataset``
=================  ================================  ===============================================  ======================
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from . import probes
from .artefacts import UserError
from .attacks import perturb
from .data import Images, to_float
from .profiles import Watermark
from .training import logits_of
from .watermark import stamp

Extra = dict[str, torch.Tensor]

IPGUARD_MARGIN, IPGUARD_RATE, IPGUARD_STEPS = 10.0, 0.01, 1000
CAE_RATE, CAE_STEPS, CAE_RADIUS, CAE_DROPOUT, CAE_KEEP = 5e-3, 100, 0.15, 0.3, 0.85
"""CAE: the rate is ten times the published 5e-4, with which 100 steps of Adam cannot leave a third of the published radius and
few candidates pass on small images; with this one nearly all do. Only the owner's own models enter that count."""

CANDIDATES = 2
"""IPGuard and CAE start from so many images per wanted probe, because not every one gets where it should."""

MODELDIFF_RADIUS, MODELDIFF_STEPS = 0.03 * 255, 10
ZEST_GRID, ZEST_MASKS = 4, 64
"""Zest: cells per side and masks per image. The original takes 1,000 masks of segments whose number depends on the image;
64 masks are four times as many as the unknowns that a grid of 16 cells has, and keep the number of queries payable."""

WALK_STEPS, WALK_STEP, WALK_FIT = 50, 5.0, 250
"""Dataset Inference: steps of a walk, length of one in grey levels (root mean square over the pixels), and how many private
and as many public images the owner fits the scores on."""


class Setting(NamedTuple):
    """What the owner has for making a fingerprint.

    Attributes
    ----------
    source : torch.nn.Module
        The owner's model in evaluation mode: from images, float32 in [0, 1], to logits.
    surrogates : list of torch.nn.Module
        Students of the source that the owner trained; none of them is evaluated.
    references : list of torch.nn.Module
        Independent models that the owner trained; none of them is evaluated.
    probe : Images
        The probe split, in random order.
    owner : Images
        The images that the source was trained on.
    seed : int
        Seed of everything random.
    """

    source: nn.Module
    surrogates: list[nn.Module]
    references: list[nn.Module]
    probe: Images
    owner: Images
    seed: int


class Queries(NamedTuple):
    """A fingerprint's queries; the first few probes are a fingerprint of their own.

    Attributes
    ----------
    pixels : torch.Tensor
        uint8, shape (n, per, channels, height, width): `n` probes of `per` queries each.
    extra : dict of torch.Tensor
        What the comparison needs besides the answers, or what tells how well the making went; on the CPU. The first
        dimension is `n` where each probe has its own value, and 1 where all share one.
    """

    pixels: torch.Tensor
    extra: Extra

    def first(self, n: int) -> "Queries":
        """The fingerprint of the first `n` probes."""
        return Queries(self.pixels[:n], {name: value[:n] for name, value in self.extra.items()})


class Baseline(NamedTuple):
    """A fingerprint and what it demands.

    Attributes
    ----------
    queries : callable, optional
        From a setting and a number of probes to queries; None for EWE, whose watermark :func:`ewe_queries` takes as well.
    distance : callable
        From the source's and the suspect's logits, float64, shape (n, per, classes), and the extras to a scalar.
    measure : str
        What is compared, in two or three words.
    form : {"labels", "probabilities"}
        The least that a prediction service must show.
    access : {"none", "answers", "gradients", "training"}
        What is needed of the source to make it; ``none`` where the queries do not depend on the source.
    uses_surrogates, uses_references : bool
        Whether models must be trained for it.
    new_labels : bool
        Whether it can judge a suspect whose classes are others than the source's.
    """

    queries: Callable[[Setting, int], Queries] | None
    distance: Callable[[torch.Tensor, torch.Tensor, Extra], torch.Tensor]
    measure: str
    form: str
    access: str
    uses_surrogates: bool = False
    uses_references: bool = False
    new_labels: bool = False


def _need(wanted: int, found: int, what: str) -> None:
    if wanted > found:
        raise UserError(
            f"A baseline needs {wanted} {what} and there are only {found}; lower probes.count or enlarge the split."
        )


def to_bytes(x: torch.Tensor) -> torch.Tensor:
    """Images in [0, 1] as the nearest uint8 pixels."""
    return (x * 255).round().clamp(0, 255).to(torch.uint8)


# Labels: Random, AKH, IPGuard, CAE, EWE


def label_distance(source: torch.Tensor, suspect: torch.Tensor, extra: Extra) -> torch.Tensor:
    """Share of queries, 0 to 1, for which the suspect predicts another label than the source.

    Parameters
    ----------
    source, suspect : torch.Tensor
        Logits, shape (n, per, classes).
    extra : dict
        Not used.
    """
    return (source.argmax(-1) != suspect.argmax(-1)).double().mean()


def random_queries(setting: Setting, count: int) -> Queries:
    """Random, and FBI: the first `count` images of the probe split."""
    return Queries(probes.normal(setting.probe, count).pixels[:, None], {})


def akh_queries(setting: Setting, count: int) -> Queries:
    """AKH (Godinot et al. 2025): the first `count` images that the source misclassifies."""
    predictions = logits_of(setting.source, setting.probe.pixels).argmax(1)
    return Queries(probes.wrong(setting.probe, predictions[None], count).pixels[:, None], {})


def _right(setting: Setting, count: int) -> Images:
    """Candidates: the first images of the probe split that the source classifies correctly."""
    hits = logits_of(setting.source, setting.probe.pixels).argmax(1) == setting.probe.labels.cpu()
    index = hits.nonzero().squeeze(1)
    _need(count, len(index), "images of the probe split that the source classifies correctly")
    return setting.probe.take(index[: CANDIDATES * count].to(setting.probe.labels.device))


def ipguard_loss(logits: torch.Tensor, label: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    r"""How far each image is from the boundary between its class and a target class.

    .. math:: \mathrm{ReLU}(z_i - z_j + k) + \mathrm{ReLU}(\max_{t \ne i, j} z_t - \min(z_i, z_j)), \qquad k = 10

    Parameters
    ----------
    logits : torch.Tensor
        :math:`z`, shape (n, classes), at least three classes.
    label, target : torch.Tensor
        int64, shape (n,): :math:`i` and :math:`j`, different in every row.

    Returns
    -------
    torch.Tensor
        Shape (n,), 0 or more.
    """
    pair = torch.stack([label, target], 1)
    own, other = logits.gather(1, pair).unbind(1)
    rest = logits.scatter(1, pair, -torch.inf).amax(1)
    return F.relu(own - other + IPGUARD_MARGIN) + F.relu(rest - torch.minimum(own, other))


def ipguard_queries(setting: Setting, count: int) -> Queries:
    """IPGuard (Cao et al. 2021): images pushed just over the source's boundary to a random class, by Adam.

    The loss is taken at the nearest 8-bit image and its gradient handed to the unrounded one; an image stays as it is from
    the step in which the source first predicts the target. Images that got there come first, in the order of the split; the
    last state of others only fills up.

    Parameters
    ----------
    setting : Setting
        Its source and probe split are used.
    count : int
        Number of probes.

    Returns
    -------
    Queries
        One query per probe; extra ``crossed`` (bool, per probe): whether the source predicts the target.
    """
    images = _right(setting, count)
    classes = logits_of(setting.source, images.pixels[:1]).shape[1]
    shift = torch.randint(1, classes, images.labels.shape, generator=torch.Generator().manual_seed(setting.seed))
    target = (images.labels + shift.to(images.labels.device)) % classes
    x = to_float(images.pixels).requires_grad_(True)
    optimizer = torch.optim.Adam([x], IPGUARD_RATE)
    result = images.pixels.clone()
    crossed = torch.zeros_like(target, dtype=torch.bool)
    for _ in range(IPGUARD_STEPS):
        active = (~crossed).nonzero().squeeze(1)
        result[active] = to_bytes(x.detach()[active])
        sent = x[active] + (to_float(result[active]) - x.detach()[active])
        logits = setting.source(sent)
        crossed[active] = logits.argmax(1) == target[active]
        if crossed.all():
            break
        (x.grad,) = torch.autograd.grad(ipguard_loss(logits, images.labels[active], target[active]).sum(), x)
        optimizer.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    chosen = (~crossed).int().argsort(stable=True)[:count]
    return Queries(result[chosen][:, None], {"crossed": crossed[chosen].cpu()})


def conferrability(label: torch.Tensor, surrogates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Share of surrogates that predict the source's label, times share of references that do not.

    Parameters
    ----------
    label : torch.Tensor
        int64, shape (n,): what the source predicts.
    surrogates, references : torch.Tensor
        int64, shape (models, n): what they predict.

    Returns
    -------
    torch.Tensor
        float64, shape (n,), in [0, 1].
    """
    return (surrogates == label).double().mean(0) * (references != label).double().mean(0)


def cae_loss(source: torch.Tensor, clean: torch.Tensor, surrogates: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    r"""Loss of conferrable adversarial examples, with all three weights 1.

    .. math:: -\log \max_{t \ne y} S_t(x') (1 - R_t(x')) - H(M(x), M(x')) + H(M(x'), S(x'))

    with the cross-entropy :math:`H(p, q) = -\sum_t p_t \log q_t` and the source's label :math:`y` for the original: some other
    class should be the surrogates' answer and not the references', the source's answer should leave that to the original,
    and the surrogates should follow it. Re-implementations of the original take a softmax of these products and include
    :math:`y`. Then the gradient vanishes where the models are sure, and it pays to mislead the references alone, which makes
    no adversarial example of the source.

    Parameters
    ----------
    source, clean : torch.Tensor
        Log-probabilities of the source :math:`M` for the adversarial :math:`x'` and for the original :math:`x`, (n, classes).
    surrogates, references : torch.Tensor
        Mean probabilities :math:`S`, :math:`R` of the two ensembles for :math:`x'`, (n, classes).

    Returns
    -------
    torch.Tensor
        Shape (n,).
    """
    scores = (surrogates * (1 - references)).scatter(1, clean.argmax(1, keepdim=True), 0)
    confer = -scores.amax(1).clamp_min(1e-12).log()
    leave = -(clean.exp() * source).sum(1)
    follow = -(source.exp() * surrogates.clamp_min(1e-12).log()).sum(1)
    return confer - leave + follow


def _ensemble(models: list[nn.Module], x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mean probabilities of the models that dropout leaves; at least one stays."""
    draw = torch.rand(len(models), generator=generator)
    kept = [model for model, value in zip(models, draw, strict=True) if value >= CAE_DROPOUT or value == draw.max()]
    return torch.stack([model(x).softmax(1) for model in kept]).mean(0)


def cae_queries(setting: Setting, count: int) -> Queries:
    """CAE (Lukas et al. 2021): adversarial examples that surrogates take over from the source and references do not.

    Adam minimises :func:`cae_loss` within 0.15 of the image, dropping each model of the two ensembles with probability 0.3
    in each step (whether the original drops models or single outputs is not certain). The probes are the candidates of
    highest :func:`conferrability`, which counts as 0 where the source still predicts the true label. The original keeps
    those of 0.85 or more; here the best of the rest fill up where these do not suffice.

    Parameters
    ----------
    setting : Setting
        At least one surrogate and one reference.
    count : int
        Number of probes.

    Returns
    -------
    Queries
        One query per probe, best first; extra ``conferrability`` (per probe) and ``passed`` (bool, per probe): at least 0.85.
    """
    if not setting.surrogates or not setting.references:
        raise UserError("CAE needs at least one surrogate and one reference; add them in zoo.surrogates and zoo.references.")
    images = _right(setting, count)
    generator = torch.Generator().manual_seed(setting.seed)
    start = to_float(images.pixels)
    low, high = (start - CAE_RADIUS).clamp_min(0), (start + CAE_RADIUS).clamp_max(1)
    with torch.no_grad():
        clean = setting.source(start).log_softmax(1)
    x = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([x], CAE_RATE)
    for _ in range(CAE_STEPS):
        ensembles = (_ensemble(models, x, generator) for models in (setting.surrogates, setting.references))
        loss = cae_loss(setting.source(x).log_softmax(1), clean, *ensembles).sum()
        (x.grad,) = torch.autograd.grad(loss, x)
        optimizer.step()
        with torch.no_grad():
            x.copy_(torch.minimum(torch.maximum(x, low), high))
    pixels = to_bytes(x.detach())
    label, *others = (
        torch.stack([logits_of(model, pixels).argmax(1) for model in models])
        for models in ([setting.source], setting.surrogates, setting.references)
    )
    score = conferrability(label[0], *others) * (label[0] != images.labels.cpu())
    best = score.argsort(descending=True, stable=True)[:count]
    extra = {"conferrability": score[best], "passed": score[best] >= CAE_KEEP}
    return Queries(pixels[best.to(pixels.device)][:, None], extra)


def ewe_queries(setting: Setting, count: int, watermark: Watermark) -> Queries:
    """EWE (Jia et al. 2021): the first `count` probe images of the watermark's source class, with the trigger.

    Parameters
    ----------
    setting : Setting
        Its probe split is used.
    count : int
        Number of probes.
    watermark : Watermark
        What the source was taught, see :mod:`sacutils.watermark`.

    Returns
    -------
    Queries
        One query per probe; extra ``target`` (int64, shared): the label that the source was taught to give.
    """
    marked = stamp(setting.probe, watermark)
    _need(count, len(marked), f"images of class {watermark.source_class} in the probe split")
    return Queries(marked[:count, None], {"target": torch.tensor([watermark.target_class])})


def ewe_distance(source: torch.Tensor, suspect: torch.Tensor, extra: Extra) -> torch.Tensor:
    """Share of queries, 0 to 1, for which the suspect does not predict the secret label ``extra["target"]``.

    Parameters
    ----------
    source : torch.Tensor
        Not used: the secret is known.
    suspect : torch.Tensor
        Logits, shape (n, per, classes).
    extra : dict
        ``target``, see :func:`ewe_queries`.
    """
    return (suspect.argmax(-1) != extra["target"]).double().mean()


# ModelDiff


def modeldiff_queries(setting: Setting, count: int) -> Queries:
    """ModelDiff (Li et al. 2021): half of the budget are seeds, plain images, and half their adversarial twins.

    The twins are made by projected gradient descent within 0.03 of the seed, away from the label that the source predicts.

    Parameters
    ----------
    setting : Setting
        Its source and probe split are used.
    count : int
        Number of queries: there are half as many probes.

    Returns
    -------
    Queries
        Two queries per probe: seed, twin.
    """
    seeds = probes.normal(setting.probe, count // 2).pixels
    label = logits_of(setting.source, seeds).argmax(1).to(seeds.device)
    step = 2.5 * MODELDIFF_RADIUS / MODELDIFF_STEPS  # enough to reach the edge of the ball and to turn there
    twins = perturb(setting.source, to_float(seeds), label, MODELDIFF_STEPS, step, MODELDIFF_RADIUS)
    return Queries(torch.stack([seeds, to_bytes(twins)], 1), {})


def decision_distances(logits: torch.Tensor) -> torch.Tensor:
    """Decision distance vector: cosine distance, 0 to 1, of a model's probabilities at each seed and its twin.

    Parameters
    ----------
    logits : torch.Tensor
        Shape (n, 2, classes); any number of classes.

    Returns
    -------
    torch.Tensor
        Shape (n,).
    """
    seed, twin = logits.softmax(-1).unbind(1)
    return (1 - F.cosine_similarity(seed, twin, dim=-1)).clamp_min(0)


def modeldiff_distance(source: torch.Tensor, suspect: torch.Tensor, extra: Extra) -> torch.Tensor:
    """Cosine distance, 0 to 1, of two models' :func:`decision_distances`; 1 if one of the two never moves.

    Parameters
    ----------
    source, suspect : torch.Tensor
        Logits, shape (n, 2, classes); the numbers of classes may differ.
    extra : dict
        Not used.
    """
    return 1 - F.cosine_similarity(decision_distances(source), decision_distances(suspect), dim=0)


# FBI


def entropy(counts: torch.Tensor) -> torch.Tensor:
    """Shannon entropy, in nats, of a histogram of any shape."""
    shares = counts.double().flatten() / counts.sum()
    return -torch.xlogy(shares, shares).sum()


def fbi_distance(source: torch.Tensor, suspect: torch.Tensor, extra: Extra) -> torch.Tensor:
    r"""FBI (Maho et al. 2022): :math:`1 - I(y_S; y_T) / \min(H(y_S), H(y_T))` of the labels on plain images, 0 to 1.

    The mutual information asks whether one model's label tells the other's, whatever the labels are called. If one model
    predicts the same label for all queries it tells nothing, and the distance is 1.

    Parameters
    ----------
    source, suspect : torch.Tensor
        Logits, shape (n, per, classes); the numbers of classes may differ.
    extra : dict
        Not used.
    """
    rows, columns = (F.one_hot(logits.argmax(-1).flatten(), logits.shape[-1]).double() for logits in (source, suspect))
    joint = rows.T @ columns
    first, second = entropy(joint.sum(1)), entropy(joint.sum(0))
    smaller = torch.minimum(first, second)
    if smaller <= 0:
        return torch.ones((), dtype=torch.float64)
    return (1 - (first + second - entropy(joint)) / smaller).clamp(0, 1)


# Zest


def cells(height: int, width: int) -> torch.Tensor:
    """The regular grid that stands for Zest's superpixels: the number of the cell of each pixel, int64, (height, width)."""
    rows, columns = (torch.arange(size) * ZEST_GRID // size for size in (height, width))
    return rows[:, None] * ZEST_GRID + columns


def zest_queries(setting: Setting, count: int) -> Queries:
    """Zest (Jia et al. 2022): the first `count` probe images, each with random halves of its cells hidden.

    A hidden cell takes the mean colour of the image. The masks are the same for all images.

    Parameters
    ----------
    setting : Setting
        Its probe split and seed are used.
    count : int
        Number of images.

    Returns
    -------
    Queries
        `ZEST_MASKS` queries per probe, the first of them the image itself; extra ``masks`` (float64, shape
        (1, masks, cells), shared): 1 where a cell is shown, 0 where it is hidden.
    """
    pixels = probes.normal(setting.probe, count).pixels
    masks = torch.randint(0, 2, (ZEST_MASKS, ZEST_GRID**2), generator=torch.Generator().manual_seed(setting.seed))
    masks[0] = 1
    shown = masks[:, cells(*pixels.shape[-2:])].bool()[:, None].to(pixels.device)
    mean = pixels.float().mean((-2, -1), keepdim=True).round().to(torch.uint8)
    return Queries(torch.where(shown, pixels[:, None], mean[:, None]), {"masks": masks.double()[None]})


def lime_weights(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    r"""How much each cell raises the probability of each class: a ridge regression per image, as in LIME.

    .. math:: W = (A^\top A + I)^{-1} A^\top P

    with the centred masks :math:`A` and the centred probabilities :math:`P`, which is ridge regression with penalty 1 and an
    intercept that bears none.

    Parameters
    ----------
    logits : torch.Tensor
        Shape (n, masks, classes).
    masks : torch.Tensor
        Shape (masks, cells).

    Returns
    -------
    torch.Tensor
        Shape (n, cells, classes).
    """
    centred = masks - masks.mean(0)
    probabilities = logits.softmax(-1)
    return torch.linalg.solve(
        centred.T @ centred + torch.eye(masks.shape[1], dtype=masks.dtype),
        centred.T @ (probabilities - probabilities.mean(1, keepdim=True)),
    )


def zest_distance(source: torch.Tensor, suspect: torch.Tensor, extra: Extra) -> torch.Tensor:
    """Cosine distance, 0 to 2, of two models' :func:`lime_weights`, those of all images in one vector.

    Parameters
    ----------
    source, suspect : torch.Tensor
        Logits, shape (n, masks, classes), of the same classes.
    extra : dict
        ``masks``, see :func:`zest_queries`.
    """
    weights = (lime_weights(logits, extra["masks"][0]).flatten() for logits in (source, suspect))
    return 1 - F.cosine_similarity(*weights, dim=0)


# Dataset Inference


def walks(pixels: torch.Tensor, seed: int) -> torch.Tensor:
    """Blind walks: each image, and 50 steps of equal length from it in each of three random directions.

    The directions are drawn from a uniform, a normal and a Laplace distribution. All steps are fixed in advance, so that
    every model is asked the same.

    Parameters
    ----------
    pixels : torch.Tensor
        uint8, shape (n, channels, height, width).
    seed : int
        Seed of the directions.

    Returns
    -------
    torch.Tensor
        uint8, shape (n, 1 + 3 x 50, channels, height, width): the image, then the walks one after the other.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = tuple(pixels.shape)
    uniform = torch.rand(shape, generator=generator) * 2 - 1
    normal = torch.randn(shape, generator=generator)
    one, other = torch.empty((2, *shape)).exponential_(generator=generator)  # their difference is Laplace
    directions = torch.stack([uniform, normal, one - other], 1).to(pixels.device)
    directions = directions / directions.square().mean((2, 3, 4), keepdim=True).sqrt()
    path = torch.stack(
        [
            (pixels[:, None] + k * WALK_STEP * directions).round().clamp(0, 255).to(torch.uint8)
            for k in range(1, WALK_STEPS + 1)
        ],
        2,
    )
    return torch.cat([pixels[:, None], path.flatten(1, 2)], 1)


def walk_lengths(logits: torch.Tensor) -> torch.Tensor:
    """The first step of each walk at which the label is not that of the image any more; 50 if there is none.

    Parameters
    ----------
    logits : torch.Tensor
        Shape (n, 1 + 3 x 50, classes), in the order of :func:`walks`.

    Returns
    -------
    torch.Tensor
        float64, shape (n, 3), 1 to 50.
    """
    labels = logits.argmax(-1)
    kept = labels[:, 1:].unflatten(1, (3, WALK_STEPS)) == labels[:, :1, None]
    return (kept.int().cumprod(-1).sum(-1) + 1).clamp_max(WALK_STEPS).double()


def _alternate(private: torch.Tensor, public: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` images, a private one first, and whether each is private."""
    flags = torch.arange(count) % 2 == 0
    pixels = torch.stack([private[: (count + 1) // 2], public[: (count + 1) // 2]], 1).flatten(0, 1)[:count]
    return pixels, flags


def inference_queries(setting: Setting, count: int) -> Queries:
    """Dataset Inference (Maini et al. 2021), black-box: walks from private (training) and public images in turn.

    The owner fits a logistic regression that tells private from public by the source's :func:`walk_lengths`, on other images
    than the probes: 250 of each kind, or as many as there are.

    Parameters
    ----------
    setting : Setting
        Its source, owner's images and probe split are used.
    count : int
        Number of images.

    Returns
    -------
    Queries
        151 queries per probe; extra ``private`` (bool, per probe) and ``weights`` (float64, shape (1, 3), shared): what a
        step of each of the three walks adds to the score of being private.
    """
    from sklearn.linear_model import LogisticRegression  # slow to import, and most jobs do not need it

    half = (count + 1) // 2
    private, public = setting.owner.pixels, setting.probe.pixels
    _need(half + 1, min(len(private), len(public)), "images of the owner and as many of the probe split")
    fit = min(WALK_FIT, len(private) - half, len(public) - half)
    pixels, private_flags = _alternate(private[half:], public[half:], 2 * fit)
    paths = walks(pixels, setting.seed + 1)
    lengths = walk_lengths(logits_of(setting.source, paths.flatten(0, 1)).unflatten(0, paths.shape[:2]))
    scale = lengths.std(0).clamp_min(1e-9)
    model = LogisticRegression().fit((lengths / scale).numpy(), private_flags.numpy())
    weights = torch.from_numpy(model.coef_).double() / scale
    chosen, flags = _alternate(private, public, count)
    return Queries(walks(chosen, setting.seed), {"private": flags, "weights": weights})


def inference_distance(source: torch.Tensor, suspect: torch.Tensor, extra: Extra) -> torch.Tensor:
    r"""Minus the effect size by which the suspect's scores of private images exceed those of public ones.

    .. math:: -\frac{\bar s_\mathrm{private} - \bar s_\mathrm{public}}
              {\sqrt{(\mathrm{var}\, s_\mathrm{private} + \mathrm{var}\, s_\mathrm{public}) / 2}}, \qquad s = w \cdot \ell

    with the walk lengths :math:`\ell` and the owner's weights :math:`w`. It may have either sign; 0 means no difference.

    Parameters
    ----------
    source : torch.Tensor
        Not used: the weights are what was learnt from it.
    suspect : torch.Tensor
        Logits, shape (n, 151, classes); any number of classes.
    extra : dict
        ``private`` and ``weights``, see :func:`inference_queries`.
    """
    scores = (walk_lengths(suspect) * extra["weights"]).sum(1)
    private, public = scores[extra["private"]], scores[~extra["private"]]
    spread = ((private.var(correction=0) + public.var(correction=0)) / 2).sqrt()
    return -(private.mean() - public.mean()) / spread.clamp_min(1e-9)


BASELINES: dict[str, Baseline] = {
    "Random": Baseline(random_queries, label_distance, "label agreement", "labels", "none"),
    "AKH": Baseline(akh_queries, label_distance, "label agreement", "labels", "answers"),
    "IPGuard": Baseline(ipguard_queries, label_distance, "label agreement", "labels", "gradients"),
    "CAE": Baseline(
        cae_queries, label_distance, "label agreement", "labels", "gradients", uses_surrogates=True, uses_references=True
    ),
    "EWE": Baseline(None, ewe_distance, "secret label", "labels", "training"),
    "ModelDiff": Baseline(
        modeldiff_queries, modeldiff_distance, "decision distances", "probabilities", "gradients", new_labels=True
    ),
    "FBI": Baseline(random_queries, fbi_distance, "mutual information", "labels", "none", new_labels=True),
    "Zest": Baseline(zest_queries, zest_distance, "LIME weights", "probabilities", "none"),
    "Dataset Inference": Baseline(inference_queries, inference_distance, "walk lengths", "labels", "answers", new_labels=True),
}
"""Every baseline by the name that is shown."""
