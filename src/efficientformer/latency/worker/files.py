"""Which files a network consists of, when it is sent to a worker."""

from pathlib import Path

from efficientformer.errors import LatencyError

COMPANIONS = {".xml": ".bin", ".param": ".bin"}


def files_of(path: Path) -> list[Path]:
    """The file and the existing files next to it that it needs; the runtime reports missing ones.

    Raises LatencyError for weights kept in another folder.
    """
    if path.suffix in COMPANIONS:
        return [path, *filter(Path.is_file, [path.with_suffix(COMPANIONS[path.suffix])])]
    if path.suffix != ".onnx":
        return [path]
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import uses_external_data

    try:
        tensors = onnx.load_model(path, load_external_data=False).graph.initializer
    except DecodeError:
        return [path]
    external = [entry for tensor in tensors if uses_external_data(tensor) for entry in tensor.external_data]
    names = sorted({entry.value for entry in external if entry.key == "location"})
    if any(Path(name).name != name for name in names):
        raise LatencyError(f"{path} keeps weights in another folder. Export it into one file.")
    return [path, *filter(Path.is_file, [path.parent / name for name in names])]
