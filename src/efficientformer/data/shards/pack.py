"""Images into tar files: WebDataset's layout, the bytes as they are, the same file to the byte for the same images.

The order is drawn from the seed, so that those who read tar files from front to end see all classes at any time.
"""

import contextlib
import hashlib
import io
import itertools
import posixpath
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from efficientformer.data.dataset import ImageSplit
from efficientformer.data.formats import extension_of
from efficientformer.data.images import Progress
from efficientformer.data.large.checks import Checks
from efficientformer.data.large.found import FoundSet, source_of
from efficientformer.data.large.undecoded import UndecodedSource
from efficientformer.data.shards.manifest import CLASSES, NAME, Manifest, PackedShard, is_packed, read_manifest
from efficientformer.data.shards.tar import BLOCK, blocks
from efficientformer.data.walk import reason_of
from efficientformer.errors import DataError, RecordError, UsageError
from efficientformer.leftovers import clear_leftovers
from efficientformer.records import as_json, atomic_path

_NAME_BYTES = 100
"""Longest name in a plain header; a longer one, or one that is not ASCII, takes a header of its own."""


@dataclass(frozen=True, eq=False)
class PlannedImage:
    """An image of a shard. key: its name in it without extension. digest: SHA-256 of its bytes."""

    source: UndecodedSource
    position: int
    key: str
    label: int
    digest: bytes

    @property
    def members(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Names and sizes of the picture and its label."""
        extension = extension_of(self.source.files[self.position])
        size = int(self.source.sizes[self.position])
        return (f"{self.key}{extension}", size), (f"{self.key}.cls", len(str(self.label)))


@dataclass(frozen=True)
class Plan:
    """Shards by their files, each with its images in order, and the classes in the order of their numbers."""

    shards: dict[str, list[PlannedImage]]
    classes: tuple[str, ...]

    def manifest(self) -> Manifest:
        digest, shards = hashlib.sha256("\0".join(self.classes).encode()), list[PackedShard]()
        for file, images in self.shards.items():
            digest.update(f"\n{file}".encode())
            for image in images:
                digest.update(f"\0{image.key}\0{image.label}".encode() + image.digest)
            shards.append({"file": file, "num_images": len(images), "num_bytes": _tar_bytes(images)})
        return {"about": digest.hexdigest(), "shards": shards}


def plan_shards(found: FoundSet, splits: Sequence[ImageSplit], checks: Checks, *, shard_bytes: int, seed: int) -> Plan:
    """Shards of the images for training and of those for validation, of at most `shard_bytes` where an image is not
    larger.

    splits: usable images of `found`, which `checks` are of. Raises UsageError for classes without a line of their own.
    """
    classes = splits[0].classes
    if bad := [name for name in classes if not name.isprintable() or name != name.strip()]:
        raise UsageError(f"The class {bad[0]!r} cannot be a line of {CLASSES}. Rename it.")
    shards: dict[str, list[PlannedImage]] = {}
    for role, split in zip(("train", "val"), splits, strict=True):
        images = sorted(_images(found, split, checks), key=lambda image: _draw(seed, image.key))
        for number, part in enumerate(_parts(images, shard_bytes)):
            shards[f"{role}-{number:06d}.tar"] = part
    return Plan(shards, classes)


def write_shards(plan: Plan, folder: Path, progress: Progress | None = None) -> int:
    """Write those shards of the plan that are not there, and return their number.

    progress: called with the number of images that are in shards, and of all.

    Raises UsageError for a folder with anything but shards of the same plan, DataError for an image that was changed
    since it was checked, and where the disk is full: the shards that are finished stay, and the same call goes on.
    """
    manifest = plan.manifest()
    _begin(folder, manifest, plan.classes)
    total, done, written = sum(map(len, plan.shards.values())), 0, 0
    for shard in manifest["shards"]:
        images, path = plan.shards[shard["file"]], folder / shard["file"]
        if is_packed(folder, shard):
            done += len(images)
            continue
        with _writable(path) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
            for image in images:
                (picture, _), (label, _) = image.members
                _add(archive, picture, _content(image))
                _add(archive, label, str(image.label).encode())
                done += 1
                if progress is not None:
                    progress(done, total)
        written += 1
    return written


def _images(found: FoundSet, split: ImageSplit, checks: Checks) -> list[PlannedImage]:
    """The images of a split, each with a key of its own."""
    source, start = source_of(split), found.starts[id(split.source)]
    keys = _keys([split.name(index) for index in range(len(split))])
    rows = zip(keys, split.positions, split.labels, strict=True)
    return [
        PlannedImage(source, position, key, label, checks.digests[start + position].tobytes())
        for key, position, label in rows
        if isinstance(label, int)
    ]


def _keys(names: Sequence[str]) -> list[str]:
    """Names below the folder that all are in, without extension and, where WebDataset ends a key, without a dot; of
    equal ones all but the first are numbered."""
    shared = posixpath.commonpath([posixpath.dirname(min(names)), posixpath.dirname(max(names))])
    keys: dict[str, None] = {}
    for name in names:
        folder, slash, own = name[len(shared) :].lstrip("/").rpartition("/")
        stem = f"{folder}{slash}{own[: len(own) - len(extension_of(own))].replace('.', '_')}"
        numbered = (f"{stem}-{number}" for number in itertools.count(2))
        keys[next(key for key in itertools.chain([stem], numbered) if key not in keys)] = None
    return list(keys)


def _draw(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"shards/{seed}/{key}".encode()).digest()


def _parts(images: Sequence[PlannedImage], shard_bytes: int) -> Iterator[list[PlannedImage]]:
    """Images one after another, as many as fit."""
    part: list[PlannedImage] = []
    num_bytes = 0
    for image in images:
        size = _member_bytes(image)
        if part and _with_end(num_bytes + size) > shard_bytes:
            yield part
            part, num_bytes = [], 0
        part.append(image)
        num_bytes += size
    yield part


def _tar_bytes(images: Sequence[PlannedImage]) -> int:
    return _with_end(sum(map(_member_bytes, images)))


def _with_end(num_bytes: int) -> int:
    """Two blocks of zeros end a tar file, and it is written in records."""
    return -(-(num_bytes + 2 * BLOCK) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def _member_bytes(image: PlannedImage) -> int:
    return sum(_header_bytes(name) + blocks(size) for name, size in image.members)


def _header_bytes(name: str) -> int:
    if name.isascii() and len(name) <= _NAME_BYTES:
        return BLOCK
    return len(tarfile.TarInfo(name).tobuf(tarfile.PAX_FORMAT, "utf-8"))


def earlier_packing(folder: Path) -> Manifest | None:
    """What was packed into a folder before; None for one that is new or empty. Raises UsageError for any other."""
    try:
        is_empty = not folder.exists() or all(entry.name.startswith(".") for entry in folder.iterdir())
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be used: {reason_of(error)}. Choose a new folder.") from error
    known = None if is_empty else read_manifest(folder)
    if known is None and not is_empty:
        raise UsageError(
            f"--out {folder} is not empty, and its files are not those of an earlier packing. Choose a new folder."
        )
    return known


def _begin(folder: Path, manifest: Manifest, classes: Sequence[str]) -> None:
    """Raises UsageError for a folder with anything but this."""
    known = earlier_packing(folder)
    if known is not None and known["about"] != manifest["about"]:
        raise UsageError(
            f"{folder} holds shards of other images, or of these with another --shard-size, --seed, --val-fraction or "
            "--max-pixels. Choose another --out, or remove it."
        )
    with _writable(folder / CLASSES) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    with _writable(folder / NAME) as temporary:
        temporary.write_text(as_json(manifest, indent=1) + "\n", encoding="utf-8")
    for shard in manifest["shards"]:
        clear_leftovers(folder, shard["file"])


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[Path]:
    """As `atomic_path`. Raises DataError where the disk is full or the folder cannot be written."""
    try:
        with atomic_path(path) as temporary:
            yield temporary
    except RecordError as error:
        cause = error.__cause__
        why = reason_of(cause) if isinstance(cause, OSError) else str(error)
        raise DataError(f"Cannot write {path}: {why}. Free some space and repeat the command: it goes on.") from error


def _content(image: PlannedImage) -> bytes:
    """Raises DataError for one that is not what was checked."""
    name = image.source.name(image.position)
    try:
        content = image.source.content(image.position)
    except OSError as error:
        raise DataError(f"{name} can no longer be read: {reason_of(error)}. Repeat the command.") from error
    if hashlib.sha256(content).digest() != image.digest:
        raise DataError(f"{name} has changed since it was checked. Repeat the command in a new --out.")
    return content


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Without time and owner: shards of the same images are the same."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
