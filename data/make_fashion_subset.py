"""Make data/fashion_subset.npz: 16,000 images of Fashion-MNIST, 1,600 of each class.

Usage: ``python data/make_fashion_subset.py SOURCE``, where SOURCE is the folder with the four
``*-ubyte.gz`` files of the full set: the one that torchvision downloads to
(``data/FashionMNIST/raw``) or that of Debian's package ``dataset-fashion-mnist``
(``/usr/share/datasets/fashion-mnist``). The choice is a function of the constant seed below; the
script prints the SHA-256.
"""

import gzip
import hashlib
import sys
from pathlib import Path

import numpy as np

SEED, PER_CLASS = 20221015, 1600
TARGET = Path(__file__).parent / "fashion_subset.npz"


def read_idx(path: Path) -> np.ndarray:
    """One file of the IDX format of unsigned bytes, as an array of its own shape."""
    raw = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def main() -> None:
    """Read the full set, choose, write and print the checksum."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    source = Path(sys.argv[1])
    parts = ("train", "t10k")
    images = np.concatenate([read_idx(source / f"{part}-images-idx3-ubyte.gz") for part in parts])
    labels = np.concatenate([read_idx(source / f"{part}-labels-idx1-ubyte.gz") for part in parts])
    generator = np.random.default_rng(SEED)
    chosen = [
        generator.choice(np.flatnonzero(labels == label), PER_CLASS, replace=False)
        for label in range(10)
    ]
    index = np.sort(np.concatenate(chosen)).astype(np.int32)
    np.savez_compressed(TARGET, images=images[index], labels=labels[index], index=index)
    print(
        hashlib.sha256(TARGET.read_bytes()).hexdigest(),
        TARGET.name,
        f"{TARGET.stat().st_size:,} bytes",
    )


if __name__ == "__main__":
    main()
