"""Drawings fit into a page: no address, no clashing ids, the page's own colours."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from ferrosight.errors import InputError
from ferrosight.report.svg import BLUE, INK, check_figure_path, new_figure, style_axes, to_svg, write_figure


def drawing(name: str, alt: str = "a line") -> str:
    """A small chart."""
    figure = new_figure(3, 2)
    axes = figure.add_axes((0.2, 0.2, 0.7, 0.7))
    style_axes(axes)
    axes.plot([0, 1], [0, 1], "o-", color=BLUE)
    axes.set_xlabel("x < y & z", color=INK)
    return to_svg(figure, alt, name)


def test_it_holds_no_address_and_is_well_formed() -> None:
    svg = drawing("one")
    assert "http" not in svg
    ElementTree.fromstring(svg.replace("xlink:", ""))


def test_ids_are_its_own_and_every_reference_is_met() -> None:
    first, second = drawing("one"), drawing("two")
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for svg, known in zip((first, second), ids, strict=True):
        references = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', svg))
        assert references
        assert references <= known


def test_colours_and_font_are_left_to_the_page() -> None:
    svg = drawing("one")
    assert "var(--blue)" in svg
    assert "var(--ink)" in svg
    assert BLUE not in svg
    assert "DejaVu" not in svg


def test_the_words_for_those_who_cannot_see_it_are_escaped() -> None:
    svg = drawing("one", 'a "quoted" <b>\\1')
    assert 'aria-label="a &quot;quoted&quot; &lt;b&gt;\\1"' in svg


def test_the_same_drawing_is_the_same_text() -> None:
    assert drawing("one") == drawing("one")


def test_a_path_that_cannot_hold_a_plot_is_refused(tmp_path) -> None:
    check_figure_path(tmp_path / "a.PNG")
    with pytest.raises(InputError, match="must end in"):
        check_figure_path(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="make it first"):
        write_figure(tmp_path / "none" / "a.png", new_figure(1, 1))


@pytest.mark.parametrize("ending", ["svg", "pdf", "png"])
def test_a_written_figure_is_whole_and_the_same_each_time(tmp_path, ending) -> None:
    for name in ("one", "two"):
        figure = new_figure(1, 1)
        style_axes(figure.add_subplot())
        write_figure(tmp_path / f"{name}.{ending}", figure)
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()
    folder = tmp_path / f"folder.{ending}"
    folder.mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_figure(folder, new_figure(1, 1))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{n}.{ending}" for n in ("one", "two", "folder"))
