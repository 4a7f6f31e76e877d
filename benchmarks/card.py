"""How the paper's networks train on one card: ``python -m benchmarks.card``.

Prints, for each network, the images per second of training as the book does it; the same without
a recorded step, without deterministic algorithms, and with a fused optimiser; and of 1, 2, 4 and 8
trainings side by side, each a process. Images are random, since only the time counts.
"""

import argparse
import multiprocessing
import time
from functools import partial
from typing import Any
from unittest import mock

import torch

from sacutils import training
from sacutils.attacks import Task
from sacutils.data import Images
from sacutils.profiles import Recipe

NETWORKS = ["vgg16_bn", "densenet121"]
"""One that keeps the card busy, and one of many small layers, for which it waits."""
BATCH = 512


def task(images: int, epochs: int, exact: bool = True) -> Task:
    """Training on random images of CIFAR-10's shape, on the card where there is one; if not
    `exact`, with whatever algorithms are fastest.
    """
    device, generator = training.pick_device("auto"), torch.Generator().manual_seed(0)
    torch.use_deterministic_algorithms(exact)
    torch.backends.cudnn.benchmark = not exact
    shape = (images, 3, 32, 32)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (images,), generator=generator)
    recipe = Recipe(lr=0.01, epochs=epochs, batch=min(BATCH, images), pad=4)
    return Task(Images(pixels, labels).to(device), 10, recipe, seed=0)


def seconds(network: str, what: Task, record: bool = True) -> float:
    """Seconds of one training, its end waited for; the network is built before."""
    model, objective = what.build(network), training.cross_entropy_to(what.images.labels)
    started = time.perf_counter()
    what.train(model, objective, record=record)  # ends with the loss, for which the card is waited
    return time.perf_counter() - started


def rate(network: str, images: int, epochs: int, exact: bool = True, record: bool = True) -> float:
    """Images per second of one training, after another that warms up."""
    seconds(network, task(images, 1, exact), record)
    return images * epochs / seconds(network, task(images, epochs, exact), record)


def _work(network: str, images: int, epochs: int, start: Any, times: Any) -> None:
    seconds(network, task(images, 1))
    start.wait()
    times.put(seconds(network, task(images, epochs)))


def processes() -> Any:
    """How processes are made: a copy of this one is quick, but cannot use CUDA."""
    return multiprocessing.get_context("spawn" if torch.cuda.is_available() else "fork")


def side_by_side(network: str, count: int, images: int, epochs: int) -> float:
    """Images per second of several trainings together."""
    start, times = processes().Barrier(count), processes().Queue()
    arguments = (network, images, epochs, start, times)
    workers = [processes().Process(target=_work, args=arguments) for _ in range(count)]
    for worker in workers:
        worker.start()
    slowest = max(times.get(timeout=300) for _ in workers)
    for worker in workers:
        worker.join()
    return count * images * epochs / slowest


def main(arguments: list[str] | None = None) -> None:
    """Measure and print one line per network."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--images", type=int, default=25_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--side-by-side", nargs="*", type=int, default=[1, 2, 4, 8])
    given = parser.parse_args(arguments)
    size = (given.images, given.epochs)
    counts = "".join(f"{f'{count} at once':>12s}" for count in given.side_by_side)
    ways = ("the book", "unrecorded", "any order", "fused SGD")
    print(f"{'images per second':18s}" + "".join(f"{way:>12s}" for way in ways) + counts)
    for network in given.networks:
        rates = [rate(network, *size), rate(network, *size, record=False)]
        rates.append(rate(network, *size, exact=False))
        with mock.patch("torch.optim.SGD", partial(torch.optim.SGD, fused=True)):
            rates.append(rate(network, *size))
        rates += [side_by_side(network, count, *size) for count in given.side_by_side]
        print(f"{network:18s}" + "".join(f"{value:12,.0f}" for value in rates), flush=True)


if __name__ == "__main__":
    main()
