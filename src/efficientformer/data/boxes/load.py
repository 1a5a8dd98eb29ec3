"""Images with boxes as a data set: annotations and image files are checked once, so unusable ones are known at once."""

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from efficientformer.data.boxes.coco import read_coco
from efficientformer.data.boxes.layout import CocoLayout, CocoPart, find_boxes, images_folder
from efficientformer.data.boxes.objects import Objects
from efficientformer.data.boxes.problems import Problems
from efficientformer.data.boxes.yolo import YoloFolders, label_file, read_labels
from efficientformer.data.content import Content, check_files, check_with_size
from efficientformer.data.dataset import ImageDataset, ImageSplit, SkippedFile, holdout, holdout_rule
from efficientformer.data.image_folder import FolderSource
from efficientformer.data.images import Progress
from efficientformer.data.large.undecoded import OnUnreadable
from efficientformer.data.limits import MAX_PIXELS
from efficientformer.data.listing import ListedImage
from efficientformer.data.walk import find_images, relative, shown
from efficientformer.errors import DataError
from efficientformer.reading import shown_path


@dataclass
class _Part:
    """Images of one split by file, relative to the root; of YOLO folders the objects are known once the sizes are."""

    place: str
    objects: dict[str, Objects | None]
    skipped: list[SkippedFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    num_cut: int = 0


@dataclass
class _Found:
    root: Path
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    parts: list[_Part]
    layout: str
    notes: tuple[str, ...] = ()


def load_boxes(
    path: Path | str,
    *,
    needs_masks: bool = False,
    val_fraction: float = 0.2,
    seed: int = 0,
    max_pixels: int = MAX_PIXELS,
    skip_bad: bool = False,
    on_unreadable: OnUnreadable | None = None,
    progress: Progress | None = None,
    record: Path | None = None,
    is_first: bool = True,
) -> ImageDataset:
    """Load images with boxes from a folder with COCO JSON or YOLO text files, or from one COCO file.

    needs_masks: whether every object needs a shape, for instance segmentation.
    val_fraction: the part that is held out where there are no validation images, of each class as nearly as images of
        several classes allow; the same images for the same `seed`.
    max_pixels: limit of an image, see `read_image`.
    skip_bad: leave out images and annotations that cannot be used, and name them, instead of refusing the set.
    on_unreadable: without effect here: every image is decoded.
    progress: called with the number of files that were checked, and of those to check.
    record: a file that keeps the checks of image files.
    is_first: of the processes that share the record, one writes it.

    Files that cannot be decoded are left out and named in `skipped`. Raises DataError, with a line for each problem,
    for annotations that do not fit the images, and for a set without any box.
    """
    given, problems = Path(path).expanduser(), Problems(skip_bad=skip_bad)
    found = _read(given, problems, needs_masks)
    root = found.root
    files = list(dict.fromkeys(file for part in found.parts for file in part.objects))
    contents = check_files(
        root,
        files,
        max_pixels=max_pixels,
        record=record,
        is_first=is_first,
        progress=progress,
        check=partial(check_with_size, root, max_pixels),
        checks="sizes",
    )
    sizes = {file: (content.facts[0], content.facts[1]) for file, content in contents.items() if not content.problem}
    splits = [_split(found, part, contents, sizes, max_pixels, problems, needs_masks) for part in found.parts]
    bad = problems.settle()
    for split, part in zip(splits, found.parts, strict=True):
        _require_boxes(split, part.place)
    if len(splits) == 2:
        train, val = splits
        rule = f"the images of {found.parts[1].place}"
    else:
        train, val = holdout(splits[0], val_fraction, seed)
        rule = holdout_rule(val_fraction, seed)
    skipped = [
        SkippedFile(shown(root, f"{root}/{file}"), content.problem)
        for file, content in contents.items()
        if content.problem
    ]
    walked = [entry for part in found.parts for entry in part.skipped]
    return ImageDataset(
        name=root.resolve().name or str(root),
        classes=found.classes,
        train=train,
        val=val,
        digest=_digest(splits, contents),
        split_rule=rule,
        task="instance" if needs_masks else "detection",
        layout=found.layout,
        skipped=(*sorted([*skipped, *walked], key=lambda entry: entry.file), *bad),
        notes=(*found.notes, *_notes(found.parts, splits)),
        warnings=_warnings(train, val, contents),
        category_ids=found.category_ids,
    )


def _read(given: Path, problems: Problems, needs_masks: bool) -> _Found:
    layout = find_boxes(given)
    if isinstance(layout, CocoLayout):
        return _coco(layout, problems, needs_masks)
    return _yolo(*layout)


def _coco(layout: CocoLayout, problems: Problems, needs_masks: bool) -> _Found:
    classes, ids, parts, texts = None, (), list[_Part](), list[str]()
    for coco in (layout.train, layout.val):
        if coco is None:
            continue
        annotated = read_coco(coco.path, problems, classes, needs_masks=needs_masks)
        classes, ids = annotated.classes, ids or annotated.category_ids
        folder = images_folder(layout.root, coco, list(annotated.images))
        objects = _files(layout.root, coco, folder, annotated.images, problems)
        name = shown(layout.root, str(coco.path))
        parts.append(_Part(name, objects, num_cut=annotated.num_cut))
        texts.append(f"{name} with images in {shown(layout.root, str(folder))}/" if folder != layout.root else name)
    assert classes is not None
    return _Found(layout.root, classes, ids, parts, f"COCO JSON: {', '.join(texts)}", layout.notes)


def _files(
    root: Path, coco: CocoPart, folder: Path, images: Mapping[str, Objects], problems: Problems
) -> dict[str, Objects | None]:
    """Objects by file relative to the root."""
    found: dict[str, Objects | None] = {}
    start = folder.relative_to(root).as_posix()
    for name, objects in images.items():
        file = posixpath.normpath(posixpath.join(start, Path(name).as_posix()))
        place = f"{shown_path(coco.path)}, image {shown_path(json.dumps(name, ensure_ascii=False))}"
        if "\0" in name or file.startswith(("/", "../")):
            problems.add(place, f"file_name leads out of {shown_path(root)}; move the image into it")
        elif not (root / file).is_file():
            problems.add(place, f"file_name: there is no such file in {shown_path(folder)}; add it or remove the entry")
        elif file in found:
            problems.add(place, "file_name is another spelling of a file that is listed before; list each file once")
        else:
            found[file] = objects
    return found


def _yolo(root: Path, folders: YoloFolders) -> _Found:
    parts = [_walked(root, split) for split in (folders.train, folders.val) if split]
    places = " and ".join(part.place for part in parts)
    return _Found(
        root, folders.classes, tuple(range(len(folders.classes))), parts, f"{folders.text}: images in {places}"
    )


def _walked(root: Path, folders: Sequence[Path]) -> _Part:
    part = _Part(", ".join(f"{shown(root, str(folder))}/" for folder in folders), {})
    for folder in folders:
        images = find_images(folder)
        part.objects |= {relative(root, str(path)): None for path in images.files}
        here = shown(root, str(folder))
        part.skipped += [replace(entry, file=f"{here}/{entry.file}") for entry in images.left_out.skipped]
        part.notes += images.left_out.notes()
    if not part.objects:
        raise DataError(f"{shown_path(root)}: there are no images in {part.place}. Put them there.")
    return part


def _split(
    found: _Found,
    part: _Part,
    contents: Mapping[str, Content],
    sizes: Mapping[str, tuple[int, int]],
    max_pixels: int,
    problems: Problems,
    needs_masks: bool,
) -> ImageSplit:
    listed, labels = list[ListedImage](), list[Objects]()
    for file, objects in sorted(part.objects.items()):
        if file not in sizes:
            continue
        name = shown(found.root, f"{found.root}/{file}")
        if objects is None:
            label = label_file(found.root, found.root / file)
            instances, num_cut = read_labels(label, found.classes, sizes[file], problems, needs_masks=needs_masks)
            part.num_cut += num_cut
            objects = Objects(*sizes[file], instances, len(labels) + 1)
        elif problem := _wrong_size(objects, sizes[file]):
            problems.add(f"{part.place}, image {json.dumps(name, ensure_ascii=False)}", problem)
            continue
        listed.append(ListedImage(file, name, tuple(found.classes[number] for number in objects.classes)))
        labels.append(objects)
    source = FolderSource(found.root, tuple(listed), tuple(contents[image.file] for image in listed), max_pixels)
    return ImageSplit(source, found.classes, labels, list(range(len(labels))))


def _wrong_size(objects: Objects, size: tuple[int, int]) -> str | None:
    width, height = size
    if (objects.width, objects.height) == size:
        return None
    turned = " (its EXIF data turn it)" if (objects.height, objects.width) == size else ""
    return (
        f"width and height are {objects.width} and {objects.height}, but the file has {width} x {height} pixels"
        f"{turned}; correct them and the boxes"
    )


def _require_boxes(split: ImageSplit, place: str) -> None:
    if not any(objects.instances for objects in split.labels):  # type: ignore[union-attr]
        raise DataError(
            f"No usable image of {place} has a box, so there is nothing to learn or to score. Annotate some."
        )


def _digest(splits: Sequence[ImageSplit], contents: Mapping[str, Content]) -> str:
    """SHA-256 over the classes, and the names, contents and objects of all images that are used."""
    digest = hashlib.sha256(json.dumps(splits[0].classes, ensure_ascii=False).encode(errors="surrogatepass"))
    for split in splits:
        source = split.source
        assert isinstance(source, FolderSource)
        for position, objects in zip(split.positions, split.labels, strict=True):
            assert isinstance(objects, Objects)
            image = source.images[position]
            values = [
                [instance.number, instance.box, instance.is_crowd, instance.area, instance.segmentation]
                for instance in objects.instances
            ]
            text = json.dumps([image.name, contents[image.file].digest, values], ensure_ascii=False)
            digest.update(f"{text}\n".encode(errors="surrogatepass"))
        digest.update(b"\n")
    return digest.hexdigest()


def _notes(parts: Sequence[_Part], splits: Sequence[ImageSplit]) -> tuple[str, ...]:
    notes = [note for part in parts for note in part.notes]
    for part, split in zip(parts, splits, strict=True):
        num_empty = sum(not objects.instances for objects in split.labels)  # type: ignore[union-attr]
        if num_empty:
            notes.append(
                f"{num_empty:,} images of {part.place} have no boxes: they are taken to show none of the classes"
            )
        if part.num_cut:
            notes.append(f"{part.num_cut:,} boxes of {part.place} reached up to a pixel beyond their image: cut there")
    return tuple(dict.fromkeys(notes))


def _warnings(train: ImageSplit, val: ImageSplit, contents: Mapping[str, Content]) -> tuple[str, ...]:
    warnings = []
    for split, what, effect in ((train, "training", "it cannot be learned"), (val, "validation", "it is not scored")):
        counts = zip(split.classes, split.num_images_per_class(), strict=True)
        if absent := [name for name, count in counts if not count]:
            named = ", ".join(f"'{name}'" for name in absent[:5])
            more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
            warnings.append(f"no {what} image has a box of {named}{more}: {effect}")
    source, other = train.source, val.source
    if source is not other:
        assert isinstance(source, FolderSource) and isinstance(other, FolderSource)
        known = {content.digest for content in source.contents}
        if repeated := [image.name for image in other.images if contents[image.file].digest in known]:
            warnings.append(f"validation images that repeat training images: {len(repeated):,} ({repeated[0]}, ...)")
    return tuple(warnings)
