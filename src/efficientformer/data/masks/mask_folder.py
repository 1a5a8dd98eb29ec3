"""A folder of images with masks as a data set: every file is decoded once, so what cannot be used is known at once."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from efficientformer.data.content import Content, check_files, check_with_size
from efficientformer.data.dataset import ImageDataset, ImageSplit, LoadOptions, SkippedFile, holdout
from efficientformer.data.image_folder import FolderSource
from efficientformer.data.limits import MAX_PIXELS
from efficientformer.data.listing import ListedImage
from efficientformer.data.masks.class_list import read_class_list
from efficientformer.data.masks.layout import MaskFolders, MaskPair, find_mask_folders
from efficientformer.data.masks.mask import MaskClasses, MaskFile, mask_facts
from efficientformer.errors import DataError

FEWEST = 2
SKIP = "or go on without such images: --skip-bad"


@dataclass(frozen=True)
class _Example:
    """An image that can be used, its mask, and their checks."""

    pair: MaskPair
    image: Content
    mask: MaskFile


def load_mask_folder(path: Path | str, **options: Unpack[LoadOptions]) -> ImageDataset:
    """Load training and validation images with their masks (`find_mask_folders`), or hold out a part of the images.

    options: as of `load_image_folder`. skip_bad: leave out images whose mask is missing or cannot be used, and name
        them, instead of refusing the set.

    Images that cannot be decoded are left out and named in `skipped`. Raises DataError when the folder cannot be used
    as such a set, and unless `skip_bad` for the first mask that cannot be used, with the number of others.
    """
    folders = find_mask_folders(Path(path).expanduser())
    meaning = read_class_list(folders.class_list, starts_at_one=folders.starts_at_one)
    splits = [folders.train] if folders.val is None else [folders.train, folders.val]
    pairs = [pair for split in splits for pair in split]
    contents = _checked(folders, pairs, options)
    usable, skipped = dict[str, _Example](), list[SkippedFile]()
    bad = list[SkippedFile]()
    for pair in pairs:
        image = contents[pair.image]
        if image.problem is not None:
            skipped.append(SkippedFile(pair.name, image.problem))
            continue
        try:
            usable[pair.image] = _example(folders.root, pair, contents, meaning)
        except DataError as error:
            bad.append(SkippedFile(pair.name, str(error)))
    if bad and not options.get("skip_bad", False):
        more = f" {len(bad) - 1:,} more images have masks that cannot be used." if len(bad) > 1 else ""
        raise DataError(f"{folders.root / bad[0].file}: {bad[0].reason}, {SKIP}.{more}")
    reasons = {entry.file: entry.reason for entry in (*skipped, *bad)}
    made = [_split(folders.root, split, usable, meaning, options, reasons) for split in splits]
    if len(made) == 1:
        fraction, seed = options.get("val_fraction", 0.2), options.get("seed", 0)
        train, val = holdout(made[0], fraction, seed)
        rule = f"{fraction:.3g} of the images held out, seed {seed}"
    else:
        (train, val), rule = made, folders.split_rule
    return ImageDataset(
        name=folders.root.resolve().name,
        classes=meaning.names,
        train=train,
        val=val,
        digest=_digest(meaning, splits, contents, usable),
        split_rule=rule,
        task="semantic",
        layout=folders.text,
        skipped=(*folders.left_out.skipped, *sorted([*skipped, *bad], key=lambda entry: entry.file)),
        notes=(*folders.notes, *folders.left_out.notes()),
        warnings=_warnings(train, val),
    )


def _checked(folders: MaskFolders, pairs: list[MaskPair], options: LoadOptions) -> dict[str, Content]:
    root, max_pixels = folders.root, options.get("max_pixels", MAX_PIXELS)
    masks = {pair.mask for pair in pairs if pair.mask is not None}

    def check(file: str) -> tuple[int, ...]:
        if file in masks:
            return mask_facts(root / file)
        return check_with_size(root, max_pixels, file)

    return check_files(
        root,
        [*(pair.image for pair in pairs), *sorted(masks)],
        max_pixels=max_pixels,
        record=options.get("record"),
        is_first=options.get("is_first", True),
        progress=options.get("progress"),
        check=check,
        checks="masks",
    )


def _example(root: Path, pair: MaskPair, contents: dict[str, Content], meaning: MaskClasses) -> _Example:
    """Raises DataError with the reason why an image's mask cannot be used, and the remedy."""
    if pair.mask is None:
        raise DataError("it has no mask. Add one of the same name, as PNG")
    if pair.others:
        raise DataError(f"it has several masks: {', '.join([pair.mask, *pair.others])}. Remove all but one")
    image, content = contents[pair.image], contents[pair.mask]
    if content.problem is not None:
        raise DataError(f"its mask {pair.mask}: {content.problem}")
    width, height, are_colors, *values = content.facts
    if (width, height) != image.facts:
        size = f"{image.facts[0]} x {image.facts[1]}"
        raise DataError(
            f"its mask {pair.mask} is of {width} x {height} pixels, and the image of {size}. Make them of one size"
        )
    try:
        if bool(are_colors) != meaning.are_colors:
            raise DataError(
                f"it is RGB, but {meaning.source} lists values instead of colors. Save the values as PNG of one "
                "channel, or list colors as 'RED GREEN BLUE NAME'"
                if are_colors
                else f"it has values, but {meaning.source} lists colors. List 'VALUE NAME', or save the mask as RGB"
            )
        classes = meaning.of(tuple(values))
    except DataError as error:
        raise DataError(f"its mask {pair.mask}: {error}") from error
    return _Example(pair, image, MaskFile(root / pair.mask, content, meaning, classes))


def _split(
    root: Path,
    pairs: list[MaskPair],
    usable: dict[str, _Example],
    meaning: MaskClasses,
    options: LoadOptions,
    reasons: dict[str, str],
) -> ImageSplit:
    examples = [usable[pair.image] for pair in pairs if pair.image in usable]
    if len(examples) < FEWEST:
        folder = Path(pairs[0].image).parent.as_posix()
        first = next((f" ({pair.name}: {reasons[pair.name]})" for pair in pairs if pair.name in reasons), "")
        raise DataError(
            f"{len(examples)} of {len(pairs)} images in {root / folder} can be used with their masks{first}; at least "
            f"{FEWEST} are needed. Add images."
        )
    images = tuple(ListedImage(each.pair.image, each.pair.name, ()) for each in examples)
    source = FolderSource(root, images, tuple(each.image for each in examples), options.get("max_pixels", MAX_PIXELS))
    return ImageSplit(source, meaning.names, [each.mask for each in examples], list(range(len(examples))))


def _digest(
    meaning: MaskClasses, splits: list[list[MaskPair]], contents: dict[str, Content], usable: dict[str, _Example]
) -> str:
    """SHA-256 over the classes and the names and contents of all images and masks, and whether they are used."""
    digest = hashlib.sha256(repr((meaning.names, sorted(meaning.numbers.items()))).encode())
    for split in splits:
        for pair in split:
            mask = "" if pair.mask is None else contents[pair.mask].digest
            is_used = pair.image in usable
            digest.update(f"{pair.name}\0{contents[pair.image].digest}\0{mask}\0{is_used}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _warnings(train: ImageSplit, val: ImageSplit) -> tuple[str, ...]:
    """Raises DataError where no validation image has a labelled pixel."""
    warnings = list[str]()
    for split, what in ((train, "training"), (val, "validation")):
        ignored = [index for index, label in enumerate(split.labels) if not label.classes]  # type: ignore[union-attr]
        if ignored:
            warnings.append(
                f"{len(ignored):,} {what} images whose masks are ignored as a whole ({split.name(ignored[0])}, ...): "
                "nothing is learned from them or scored"
            )
        if len(ignored) == len(split):
            raise DataError(f"All pixels of the {what} images are ignored. Correct the masks, or the list of classes.")
    absent = [name for name, count in zip(val.classes, val.num_images_per_class(), strict=True) if not count]
    if absent:
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        named = ", ".join(f"'{name}'" for name in absent[:5])
        warnings.append(f"no validation image has {named}{more}")
    return tuple(warnings)
