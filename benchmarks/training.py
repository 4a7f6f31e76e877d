"""Time the training of each CPU-sized network: ``python benchmarks/training.py [IMAGES]``.

Prints, for each architecture, the median over five epochs of the seconds that 1,000 images take on
one thread, forward, backward and augmentation included; and the same when the source is asked about
every batch, as extraction does. Nothing is asserted: speed is measured, not tested.
"""

import statistics
import sys
import time

import torch

from sacutils import attacks, models, training
from sacutils.attacks import Task
from sacutils.data import Images
from sacutils.profiles import Recipe


def main() -> None:
    """Measure and print one line per architecture."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    device = training.pick_device("auto")
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 1, 28, 28), generator=generator, dtype=torch.uint8).to(
        device
    )
    images = Images(pixels, torch.randint(0, 10, (n,), generator=generator).to(device))
    task = Task(images, 10, Recipe(lr=0.01, epochs=1, batch=64), seed=0)
    query = attacks.black_box(models.build("vgg_bn_s", 1, 10, 0).to(device))
    print(f"seconds per 1,000 images, {device}")
    for name in [name for name in models.ARCHITECTURES if name.endswith("_s")]:
        plain, asked = [], []
        for _ in range(5):
            start = time.perf_counter()
            attacks.train_independent(name, task)
            middle = time.perf_counter()
            attacks.extract_label(query, name, task)
            plain.append((middle - start) * 1000 / n)
            asked.append((time.perf_counter() - middle) * 1000 / n)
        seconds = statistics.median(plain), statistics.median(asked)
        print(f"{name:14s} training {seconds[0]:.3f}   extraction {seconds[1]:.3f}")


if __name__ == "__main__":
    main()
