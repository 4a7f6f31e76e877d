"""What classifiers give for n images, and how it becomes a row of numbers per image."""

import numpy as np


def usable(value: object, count: int, classes: int) -> np.ndarray | None:
    """An output for `count` images without its axes of length 1, if it can be their answers; else
    None.

    These are real numbers, shape (n, classes); or one real number for each image, shape (n,), if
    there are two classes; or labels, whole numbers of 0 to classes - 1, shape (n,).
    """
    if not (isinstance(value, np.ndarray) and value.ndim and len(value) == count):
        return None
    shape = (count, *(side for side in value.shape[1:] if side != 1))
    real, whole = value.dtype.kind == "f", value.dtype.kind in "iu"
    if shape == (count, classes):
        good = real
    else:
        labels = whole and len(shape) == 1 and bool(((value >= 0) & (value < classes)).all())
        good = labels or (real and len(shape) == 1 and classes == 2)
    return value.reshape(shape) if good else None


def complete(values: np.ndarray, classes: int) -> np.ndarray:
    """What :func:`usable` accepted as float64, shape (n, classes).

    Labels become 1 at the class that they name. One number for two classes is the probability of
    the second, as a sigmoid gives it; where some lie outside 0 to 1 it is the second's logit.
    """
    if values.ndim == 2:
        return values.astype(np.float64)
    if values.dtype.kind in "iu":
        return np.eye(classes)[values]
    second = values.astype(np.float64)
    inside = bool(((second >= 0) & (second <= 1)).all())
    return np.stack([1 - second if inside else np.zeros_like(second), second], 1)


def choose(found: dict[str, np.ndarray], classes: int) -> list[str]:
    """Which of some usable outputs are the answers, by name: scores of all classes before one
    number, and that before labels. Outputs that name the same classes, such as logits and their
    probabilities, are one, the first; several names are left if some name others.
    """
    rank = {name: (value.ndim, value.dtype.kind == "f") for name, value in found.items()}
    best = [name for name in found if rank[name] == max(rank.values())]
    labels = [complete(found[name], classes).argmax(1) for name in best]
    alike = all(np.array_equal(labels[0], each) for each in labels[1:])
    return best[:1] if alike else best
