"""COCO JSON: images, categories, and annotations with a box and perhaps polygons or run lengths.

Every item is checked, and every problem is one line with the file, the image and the field.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from efficientformer.data.boxes.objects import Instance, Objects, area_of
from efficientformer.data.boxes.problems import Problems
from efficientformer.data.boxes.segmentation import check_segmentation, inside, require_mask
from efficientformer.errors import DataError, RecordError
from efficientformer.reading import checked, parse_json, read_text, shown_path

MOST_MIB = 1024
Id = Annotated[int, Field(ge=-(10**15), le=10**15)]
Side = Annotated[int, Field(ge=1, le=10**6)]
Coordinate = Annotated[float, Field(ge=-1e9, le=1e9)]


class Category(TypedDict):
    id: Id
    name: Annotated[str, Field(min_length=1, max_length=1000)]


class CocoImage(TypedDict):
    id: Id
    file_name: Annotated[str, Field(min_length=1, max_length=4096)]
    width: Side
    height: Side


class CocoAnnotation(TypedDict):
    id: Id
    image_id: Id
    category_id: Id
    bbox: Annotated[list[Coordinate], Field(min_length=4, max_length=4)]
    """x, y of the upper left corner, width, height."""
    iscrowd: NotRequired[Literal[0, 1]]
    area: NotRequired[Annotated[float, Field(ge=0, le=1e13)]]
    segmentation: NotRequired[Any]


class CocoFile(TypedDict):
    images: list[Any]
    annotations: list[Any]
    categories: Annotated[list[Category], Field(min_length=1)]


@dataclass(frozen=True)
class AnnotatedSet:
    """What a file of annotations says, before any image is opened.

    classes: names, in the order of `category_ids`.
    images: file names as the annotations spell them, with the objects of each.
    num_cut: boxes that rounding put beyond their image, and that were cut at its border.
    """

    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    images: Mapping[str, Objects]
    num_cut: int


def is_coco(content: Any) -> bool:
    return isinstance(content, dict) and {"images", "annotations"} <= content.keys()


def read_json(path: Path) -> Any:
    """The content of a JSON file of up to `MOST_MIB`. Raises DataError."""
    try:
        return parse_json(read_text(path, most_mib=MOST_MIB, remedy=""))
    except RecordError as error:
        raise DataError(str(error).rstrip()) from error
    except ValueError as error:
        raise DataError(f"{shown_path(path)} cannot be used: {error}.") from error


def read_coco(
    path: Path, problems: Problems, classes: Sequence[str] | None = None, *, needs_masks: bool = False
) -> AnnotatedSet:
    """The images of a COCO file with their objects. What is wrong with an image or an annotation goes to `problems`.

    classes: of the training images, which a file of validation images has to share.
    needs_masks: whether every annotation needs a segmentation that lies in its image.

    Raises DataError for a file that is of another kind, whose categories are ambiguous, or without any annotation.
    """
    name = shown_path(path)
    try:
        content = checked(read_json(path), CocoFile)
    except ValueError as error:
        raise DataError(
            f"{name} cannot be used: {error}. COCO JSON is an object with images, annotations and categories."
        ) from error
    ids = _category_ids(content["categories"], name, classes)
    numbers = {category_id: number for number, category_id in enumerate(ids.values())}
    annotations = _Annotations(name, problems, _Images(name, problems, content["images"]), numbers, needs_masks)
    for index, given in enumerate(content["annotations"]):
        annotations.add(index, given)
    if not annotations.ids:
        problems.settle()
        raise DataError(f"{name} has no annotations, so there is nothing to learn. Annotate its images.")
    labelled = {
        image["file_name"]: Objects(image["width"], image["height"], tuple(annotations.of_image[image_id]), image_id)
        for image_id, image in annotations.images.by_id.items()
    }
    return AnnotatedSet(tuple(ids), tuple(ids.values()), labelled, annotations.num_cut)


def _category_ids(categories: Sequence[Category], name: str, classes: Sequence[str] | None) -> dict[str, int]:
    """Category ids by name, in the order of classes: of their ids, unless `classes` give one."""
    for field in ("id", "name"):
        value, count = Counter(category[field] for category in categories).most_common(1)[0]
        if count > 1:
            raise DataError(f"{name}: {count} categories have the {field} {_shown(value)}. Give each one of its own.")
    ids = {category["name"]: category["id"] for category in sorted(categories, key=lambda category: category["id"])}
    if classes is None:
        return ids
    if differing := set(ids).symmetric_difference(classes):
        first = sorted(differing)[0]
        where = "has" if first in ids else "lacks"
        raise DataError(
            f"{name} {where} the category {_shown(first)}, unlike the training images. Both need the same categories."
        )
    return {class_name: ids[class_name] for class_name in classes}


class _Images:
    """Images by id; `bad_ids` are those of entries that cannot be used, which take their annotations with them."""

    def __init__(self, name: str, problems: Problems, given: Sequence[Any]) -> None:
        self.by_id: dict[int, CocoImage] = {}
        self.bad_ids = set[int]()
        self._id_of_file: dict[str, int] = {}
        for index, content in enumerate(given):
            try:
                image = checked(content, CocoImage)
                self._require_new(image)
            except ValueError as error:
                problems.add(_image_place(name, index, content), str(error))
                if isinstance(content, dict) and type(content.get("id")) is int:
                    self.bad_ids.add(content["id"])
                continue
            self.by_id[image["id"]], self._id_of_file[image["file_name"]] = image, image["id"]
        self.bad_ids -= set(self.by_id)

    def _require_new(self, image: CocoImage) -> None:
        if image["id"] in self.by_id:
            other = _shown(self.by_id[image["id"]]["file_name"])
            raise ValueError(f"id {image['id']} is also that of {other}; give each image one of its own")
        if image["file_name"] in self._id_of_file:
            other = self._id_of_file[image["file_name"]]
            raise ValueError(f"file_name is also that of the image with id {other}; list each file once")


class _Annotations:
    """Annotations that are checked one by one and collected by image. numbers: of classes, by category id."""

    def __init__(
        self, name: str, problems: Problems, images: _Images, numbers: Mapping[int, int], needs_masks: bool
    ) -> None:
        self.images, self._name, self._problems, self._numbers = images, name, problems, numbers
        self._needs_masks = needs_masks
        self.of_image: dict[int, list[Instance]] = {image_id: [] for image_id in images.by_id}
        self.ids = set[int]()
        self.num_cut = 0

    def add(self, index: int, content: Any) -> None:
        try:
            annotation = checked(content, CocoAnnotation)
            if annotation["image_id"] in self.images.bad_ids:
                return
            instance = self._instance(annotation, self.images.by_id.get(annotation["image_id"]))
        except ValueError as error:
            self._problems.add(self._place(index, content), str(error))
            return
        self.ids.add(annotation["id"])
        self.of_image[annotation["image_id"]].append(instance)

    def _instance(self, annotation: CocoAnnotation, image: CocoImage | None) -> Instance:
        """Raises ValueError that names the field, what is wrong with it, and the remedy."""
        if image is None:
            raise ValueError(f"image_id {annotation['image_id']} is that of no image; add the image or remove this")
        if annotation["id"] in self.ids:
            raise ValueError(f"id {annotation['id']} is also that of another annotation; give each one of its own")
        if annotation["category_id"] not in self._numbers:
            known = ", ".join(map(str, sorted(self._numbers)[:10]))
            raise ValueError(f"category_id {annotation['category_id']} is that of no category; the file has {known}")
        x, y, width, height = annotation["bbox"]
        size = image["width"], image["height"]
        box, is_cut = inside((x, y, x + width, y + height), size, "bbox")
        if segmentation := annotation.get("segmentation"):
            check_segmentation(segmentation, size)
        if self._needs_masks:
            require_mask(segmentation, size)
        self.num_cut += is_cut
        return Instance(
            self._numbers[annotation["category_id"]],
            box,
            bool(annotation.get("iscrowd", 0)),
            float(annotation.get("area", area_of(box))),
            segmentation or None,
        )

    def _place(self, index: int, content: Any) -> str:
        """The file, the image and the annotation."""
        if not isinstance(content, dict):
            return f"{self._name}, annotations.{index}"
        which = f"annotation with id {_shown(content['id'])}" if "id" in content else f"annotations.{index}"
        image_id = content.get("image_id")
        image = self.images.by_id.get(image_id) if isinstance(image_id, int) else None
        return f"{self._name}, {which}" + (f" of image {_shown(image['file_name'])}" if image else "")


def _image_place(name: str, index: int, content: Any) -> str:
    has_file = isinstance(content, dict) and isinstance(content.get("file_name"), str)
    return f"{name}, image {_shown(content['file_name'])}" if has_file else f"{name}, images.{index}"


def _shown(value: Any) -> str:
    return shown_path(json.dumps(value, ensure_ascii=False))
