"""The same few images of every class for every run of a study, as hard links.

python benchmarks/studies/image_subset.py cifar10 runs/cifar10-small --train 500 --val 200
"""

import argparse
import os
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with train/CLASS and val/CLASS")
    parser.add_argument("target", type=Path)
    parser.add_argument("--train", type=int, default=500, help="images of each class, the first by name")
    parser.add_argument("--val", type=int, default=200, help="images of each class of val, the first by name")
    parser.add_argument(
        "--val-of-train", action="store_true", help="take the validation images from train instead, the next by name"
    )
    arguments = parser.parse_args()
    val_source, val_first = ("train", arguments.train) if arguments.val_of_train else ("val", 0)
    parts = (("train", "train", 0, arguments.train), ("val", val_source, val_first, arguments.val))
    for part, source, first, count in parts:
        for folder in sorted(path for path in (arguments.source / source).iterdir() if path.is_dir()):
            target = arguments.target / part / folder.name
            target.mkdir(parents=True, exist_ok=True)
            for image in sorted(folder.iterdir())[first : first + count]:
                link(image.resolve(), target / image.name)


def link(image: Path, target: Path) -> None:
    if not target.exists():
        os.link(image, target)


if __name__ == "__main__":
    main()
