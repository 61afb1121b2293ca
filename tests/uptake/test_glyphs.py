"""Characters are told apart, also in typefaces that have no template."""

from __future__ import annotations

import pytest

from ferrosight.uptake import glyphs
from ferrosight.uptake.glyphs import DIGITS, Glyph, read_length, render_character


def spell(text: str, typeface: str, height: int = 40) -> list[Glyph]:
    pictures = []
    for character in text.replace(" ", ""):
        rows = {"n": 0.74, "m": 0.74, "µ": 0.98, ".": 0.16}.get(character, 1.0)
        picture = render_character(character, typeface, "normal", max(2, round(rows * height)))
        assert picture is not None
        pictures.append(Glyph(picture, (0, 0, *picture.shape)))
    return pictures


@pytest.mark.parametrize("typeface", ["DejaVu Sans", "DejaVu Sans Mono", "DejaVu Serif", "STIXGeneral"])
@pytest.mark.parametrize(
    ("text", "length_nm"),
    [("200 nm", 200.0), ("0.5 µm", 500.0), ("1 µm", 1000.0), ("375 nm", 375.0), ("649 nm", 649.0)],
)
def test_a_label_is_read_in_a_typeface_whose_templates_are_taken_away(
    monkeypatch: pytest.MonkeyPatch, typeface: str, text: str, length_nm: float
) -> None:
    others = tuple(face for face in glyphs.TYPEFACES if face[0] != typeface)
    monkeypatch.setattr(glyphs, "TYPEFACES", others)
    glyphs._render_templates.cache_clear()
    try:
        reading = read_length(spell(text, typeface))
    finally:
        glyphs._render_templates.cache_clear()
    assert reading is not None
    assert reading.length_nm == pytest.approx(length_nm)


def test_every_digit_is_its_own_best_match() -> None:
    for digit in DIGITS:
        picture = render_character(digit, "DejaVu Sans", "normal", 17)
        assert picture is not None
        scores = {other: glyphs.match_glyph(Glyph(picture, (0, 0, 1, 1)), other) for other in DIGITS}
        assert max(scores, key=lambda one: scores[one]) == digit


def test_a_number_without_unit_is_no_length() -> None:
    assert read_length(spell("1", "DejaVu Sans")) is None
    assert read_length([]) is None
