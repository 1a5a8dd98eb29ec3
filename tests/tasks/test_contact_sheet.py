"""Names on a contact sheet: in letters that the machine has, as text and nothing else."""

import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.exported import write_classifier, write_image

from efficientformer.pipeline.predict import predict
from efficientformer.tasks.classification import fonts
from efficientformer.tasks.classification.contact_sheet import draw_contact_sheet
from efficientformer.tasks.classification.prediction import Prediction

LONGEST_S = 5.0


@pytest.fixture
def draw(tmp_path: Path) -> Any:
    image = str(write_image(tmp_path / "image.png"))

    def sheet(*names: str) -> tuple[bytes, list[str]]:
        path = tmp_path / "sheet.png"
        missing = draw_contact_sheet([Prediction(image, names, tuple(50.0 for _ in names))], path)
        with Image.open(path) as drawn:
            return drawn.tobytes(), missing

    return sheet


@pytest.fixture(params=["installed fonts", "no fonts"])
def machine(request: Any, monkeypatch: Any) -> bool:
    """Whether the machine has fonts: what holds for names must hold on both."""
    if request.param == "no fonts":
        monkeypatch.setattr(fonts, "font_files", list)
        return False
    return bool(fonts.font_files())


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Жук", "Щит"),
        ("猫", "犬"),
        ("قط", "كل"),
        ("हाथी", "गाय"),
        ("🐈", "🐕"),
        ("Ω", "Σ"),
        ("ø", "þ"),
        ("\U000f1234", "\uffff"),
    ],
)
def test_letters_are_told_apart(name: str, other: str, draw: Any, machine: bool) -> None:
    assert draw(name)[0] != draw(other)[0], "boxes look alike"


def test_without_a_font_letters_are_written_out_and_named(draw: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(fonts, "font_files", list)
    picture, missing = draw("Käfer", "Жцл", "ß")
    assert missing == ["ß", "ä", "Ж", "л", "ц"]
    assert picture == draw("Kafer", "\\u0416\\u0446\\u043b", "\\xdf")[0]
    assert draw("plain")[1] == []


def test_installed_fonts_are_used(draw: Any) -> None:
    if not any("DejaVuSans.ttf" in str(path) for path in fonts.font_files()):
        pytest.skip("no DejaVu Sans here; tests above hold without fonts")
    picture, missing = draw("Käfer", "Жцл")
    assert missing == [] and picture != draw("Kafer", "\\u0416\\u0446\\u043b")[0]


@pytest.mark.parametrize(
    "name",
    ["[red]", "[/]", "two\nlines", "\x1b[31mred", "\x07", "\u202etxt.exe", "<script>", "\udcff", "\x00", "", "\u200f"],
    ids=ascii,
)
def test_a_hostile_name_is_drawn_as_its_escapes(name: str, draw: Any, machine: bool) -> None:
    from efficientformer.visible import visible

    assert draw(name, "b") == draw(visible(name), "b")


def test_a_name_of_ten_thousand_letters_is_cut_and_quick(draw: Any) -> None:
    start = time.process_time()
    long, _ = draw("x" * 10_000)
    assert time.process_time() - start < LONGEST_S
    assert long == draw("x" * 9_000)[0] != draw("x" * 5)[0]


def test_marks_that_join_are_no_boxes(draw: Any, machine: bool) -> None:
    assert draw("a\u200db\ufe0f") == draw("ab")
    assert draw("👩\u200d🚀")[0] == draw("👩🚀")[0]


def test_fonts_that_are_none_are_passed_over(draw: Any, tmp_path: Path, monkeypatch: Any) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"not a font")
    monkeypatch.setattr(fonts, "font_files", lambda: [broken, tmp_path / "absent.otf"])
    assert draw("Ж")[1] == ["Ж"]


def test_the_verb_says_which_letters_no_font_has(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(fonts, "font_files", list)
    model = write_classifier(tmp_path / "m.onnx", ["Жцл", "[red]", "b"], softmax=True)
    found = predict(model, write_image(tmp_path / "a.png"), sheet=tmp_path / "sheet.png")
    assert len(found.notes) == 2
    assert "m.onnx ends in a softmax" in found.notes[0]
    assert "no font on this machine has Ж (U+0416), л (U+043B), ц (U+0446)" in found.notes[1]
