"""``ferrosight uptake micrographs`` from files to files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A membrane round the middle, and dark discs in it."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:400, :450].astype(float)
    away = np.hypot((rows - 200) / 130, (columns - 220) / 120)
    density = 0.25 * np.exp(-0.5 * ((away - 1) * 125 / 3) ** 2)
    for _ in range(60):
        turn, reach = rng.uniform(0, 2 * np.pi), 0.75 * np.sqrt(rng.random())
        row, column = 200 + 130 * reach * np.sin(turn), 220 + 120 * reach * np.cos(turn)
        density += 0.8 * np.sqrt(np.maximum(1 - ((rows - row) ** 2 + (columns - column) ** 2) / 30, 0))
    light = 0.7 * np.exp(-density) + rng.normal(scale=0.015, size=density.shape)
    return np.round(255 * np.clip(light, 0, 0.95)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path, picture: np.ndarray) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(picture).save(folder / "a.png")
    return folder


Call = Callable[..., Any]


def test_tables_overlay_and_masks_are_written_and_the_input_is_not(
    ferrosight: Call, folder: Path, tmp_path: Path
) -> None:
    before = (folder / "a.png").read_bytes()
    ended = ferrosight(
        "uptake",
        "micrographs",
        folder,
        "--out",
        tmp_path / "out",
        "--scale-nm-per-pixel",
        1.5,
        "--section-nm",
        70,
        "--json",
    )
    assert ended.code == 0
    (row,) = json.loads(ended.out)["bodies"]
    assert row["n_particles_body"] > row["n_particles"]
    assert sorted(path.name for path in folder.iterdir()) == ["a.png"]
    assert (folder / "a.png").read_bytes() == before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "micrographs.tsv",
        "micrographs.json",
        "particle_clusters.tsv",
        "particle_clusters.json",
        "particles.tsv",
        "particles.json",
        "a_overlay.png",
        "a_bodies.png",
        "a_particles.png",
    }
    assert json.loads((tmp_path / "out" / "micrographs.json").read_text(encoding="utf-8"))["Remarks"]


def test_a_corrected_mask_is_used_and_kept(ferrosight: Call, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    mask = np.zeros((400, 450), np.uint8)
    mask[50:350, 100:300] = 255
    Image.fromarray(mask).save(out / "a_bodies_edited.png")
    ended = ferrosight("uptake", "micrographs", folder, "--out", out, "--scale-nm-per-pixel", 1, "--json")
    (row,) = json.loads(ended.out)["bodies"]
    assert row["body_area_nm2"] == 300 * 200
    assert "outline_edited" in row["remarks"]
    assert (np.asarray(Image.open(out / "a_bodies_edited.png")) == mask).all()


def test_one_that_fails_is_listed_and_the_others_go_on(ferrosight: Call, folder: Path, tmp_path: Path) -> None:
    (folder / "b.png").write_bytes(b"no picture")
    ended = ferrosight("uptake", "micrographs", folder, "--out", tmp_path / "out", "--scale-nm-per-pixel", 1.5)
    assert ended.code == 1
    assert "error: b.png cannot be read" in ended.err
    assert "1 of 2 micrographs measured" in ended.out


def test_no_scale_at_all_is_exit_code_2_and_writes_no_table(ferrosight: Call, folder: Path, tmp_path: Path) -> None:
    ended = ferrosight("uptake", "micrographs", folder, "--out", tmp_path / "out")
    assert ended.code == 2
    assert "--scale-nm-per-pixel" in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("{folder}", "--out", "{folder}"), "never written to"),
        (("{folder}/c.png", "--out", "{out}"), "there is none"),
        (("{folder}", "--out", "{folder}/a.png"), "is a file"),
        (("{folder}", "--out", "{out}", "--particle-nm", "-3"), "--particle-nm must be a positive number"),
        (("{folder}", "{folder}", "--out", "{out}"), "comes twice"),
    ],
)
def test_bad_usage_is_one_sentence(
    ferrosight: Call, folder: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    places = {"folder": folder, "out": tmp_path / "out"}
    said = ferrosight("uptake", "micrographs", *(one.format(**places) for one in arguments)).assert_refused()
    assert sentence in said


def _burn_bar(pixels: np.ndarray, text: str, length: int, row: int) -> np.ndarray:
    """A copy with a white bar, and its label above it."""
    from ferrosight.uptake.glyphs import render_character

    burnt, left = pixels.copy(), 20
    burnt[row : row + 7, 20 : 20 + length] = 255
    for character in text:
        if character == " ":
            left += 11
            continue
        glyph = render_character(character, "DejaVu Sans", "normal", 16 if character in "nm" else 22)
        assert glyph is not None
        burnt[row - 6 - glyph.shape[0] : row - 6, left : left + glyph.shape[1]][glyph] = 255
        left += glyph.shape[1] + 3
    return burnt


def test_one_bar_is_the_scale_and_two_that_differ_are_refused(
    ferrosight: Call, tmp_path: Path, picture: np.ndarray
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    one = _burn_bar(picture, "200 nm", 133, 375)
    Image.fromarray(one).save(folder / "one.png")
    Image.fromarray(_burn_bar(one, "100 nm", 90, 50)).save(folder / "two.png")
    ended = ferrosight("uptake", "micrographs", folder, "--out", tmp_path / "out", "--json")
    assert ended.code == 1
    said = json.loads(ended.out)
    assert "one scale is needed, but its bar says" in said["failed"]["two.png"]
    assert said["bodies"][0]["scale_label"] == "200 nm"
    assert said["bodies"][0]["pixel_nm"] == pytest.approx(200 / 133, rel=0.01)


def _photograph() -> np.ndarray:
    rng = np.random.default_rng(4)
    rows, columns = np.mgrid[:200, :260] / 260
    return (255 * np.stack([rows, columns, 1 - rows], axis=-1) * rng.uniform(0.9, 1, (200, 260, 1))).astype(np.uint8)


def test_every_kind_of_bad_image_is_said_and_the_good_one_is_measured(
    ferrosight: Call, folder: Path, tmp_path: Path, picture: np.ndarray
) -> None:
    Image.fromarray(_photograph()).save(folder / "photo.png")
    Image.fromarray(np.dstack([picture, picture // 2, picture])).save(folder / "stained.png")
    Image.fromarray(np.full((200, 200), 90, np.uint8)).save(folder / "grey.png")
    ended = ferrosight("uptake", "micrographs", folder, "--out", tmp_path / "out", "--scale-nm-per-pixel", 1.5)
    assert ended.code == 1
    assert "photo.png: an electron micrograph in grey was expected" in ended.err
    assert "stained.png: an electron micrograph in grey was expected" in ended.err
    assert "grey.png must show something" in ended.err
    assert "1 of 4 micrographs measured" in ended.out


def test_inverted_and_sixteen_bit_images_give_the_same_body(
    ferrosight: Call, tmp_path: Path, picture: np.ndarray
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(picture).save(folder / "plain.png")
    Image.fromarray(255 - picture).save(folder / "inverted.png")
    Image.fromarray(picture.astype(np.uint16) * 200).save(folder / "sixteen.tif")
    ended = ferrosight(
        "uptake", "micrographs", folder, "--out", tmp_path / "out", "--scale-nm-per-pixel", 1.5, "--json"
    )
    rows = {row["image"]: row for row in json.loads(ended.out)["bodies"]}
    areas = [rows[name]["body_area_nm2"] for name in ("plain.png", "inverted.png", "sixteen.tif")]
    assert areas == pytest.approx([areas[0]] * 3, rel=0.03)
    assert "inverted_contrast" in rows["inverted.png"]["remarks"]
    assert "inverted_contrast" not in rows["plain.png"]["remarks"] + rows["sixteen.tif"]["remarks"]
