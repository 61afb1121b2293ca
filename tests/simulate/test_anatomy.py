"""What lies in a subject: where it may, as much as was asked for, and the same on every day but for what died."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from ferrosight.simulate import Ellipsoid, PlacedCells, Point, ScanSpec, Sphere, build_affine
from ferrosight.simulate.anatomy import Content, draw_sources
from ferrosight.simulate.background import is_in_tissue

SHAPE = (80, 70, 50)
CONTENT = Content(
    cells=(1, 5, 50, 400),
    iron_per_cell_pg=10.0,
    ms_am2_per_kg_fe=93.6,
    grafts=((300, (300.0, 200.0, 150.0)),),
    solid_grafts=((5000, (400.0, 300.0, 300.0)),),
    n_haemorrhages=3,
    haemorrhage_um=(30.0, 60.0),
    n_bubbles=2,
    bubble_um=(20.0, 30.0),
    n_calcifications=2,
    calcification_um=(30.0, 50.0),
    cavities_um=(400.0,),
)


def make_spec() -> ScanSpec:
    affine = build_affine(SHAPE, (0.1, 0.12, 0.2), (10, 20, -30))
    return ScanSpec(SHAPE, affine, (0.005,), 7.0, tissue_fraction=0.9)


def draw(seed: int, day: float = 0.0, content: Content = CONTENT, share: float = 1.0) -> ScanSpec:
    return draw_sources(make_spec(), content, share, np.random.SeedSequence(seed), day)


def labelled(spec: ScanSpec) -> list[PlacedCells | Ellipsoid]:
    return [s for s in spec.sources if isinstance(s, PlacedCells | Ellipsoid) and s.kind == "labelled"]


def centre_of(source: object) -> np.ndarray:
    if isinstance(source, PlacedCells):
        return np.asarray(source.positions_mm.mean(axis=0))
    assert isinstance(source, Ellipsoid | Sphere)
    return np.array(source.centre_mm if isinstance(source, Ellipsoid) else source.position_mm)


@pytest.mark.parametrize("seed", range(5))
def test_everything_asked_for_lies_in_tissue_and_apart(seed: int) -> None:
    spec = draw(seed)
    assert len(labelled(spec)) == 6
    kinds = [source.kind for source in spec.sources]
    assert [kinds.count(kind) for kind in ("haemorrhage", "air", "calcification")] == [3, 3, 2]
    inside = [s for s in spec.sources if not (isinstance(s, Sphere) and s.radius_um == 400.0)]
    centres = np.array([centre_of(source) for source in inside])
    assert is_in_tissue(spec, spec.grid.to_ijk(centres), 0.05).all()
    gaps = np.linalg.norm(centres[:, None] - centres, axis=-1) + 10 * np.eye(len(centres))
    assert gaps.min() > 0.2


def test_iron_moment_and_cells_agree() -> None:
    for source in labelled(draw(2)):
        if isinstance(source, PlacedCells):
            assert source.moments_am2.sum() == pytest.approx(93.6e-15 * source.iron_pg)
            assert len(source.moments_am2) == source.n_cells
        else:
            volume = 4 * math.pi / 3 * math.prod(source.half_axes_um) * 1e-18
            moment = volume * source.delta_chi * 7.0 / (4e-7 * math.pi)
            assert moment == pytest.approx(93.6e-15 * source.iron_pg, rel=1e-6)
            assert source.iron_pg == pytest.approx(10.0 * source.n_cells)
            assert source.inside_per_s > 100


def test_cells_die_and_never_come_back_and_a_third_of_clusters_stay() -> None:
    content = Content(cells=(200,) * 30, iron_per_cell_pg=10.0, ms_am2_per_kg_fe=93.6)
    kept = []
    for seed in range(6):
        first, later, last = (labelled(draw(seed, day, content)) for day in (0.0, 20.0, 60.0))
        # every cell has a moment of its own
        cells = [{m for s in day for m in s.moments_am2.tolist()} for day in (first, later, last)]  # type: ignore[union-attr]
        assert cells[0] > cells[1] > cells[2]
        assert len(first) == 30
        kept += [s.n_cells == 200 for s in later]
    assert np.mean(kept) == pytest.approx(1 / 3, abs=0.12)


def test_confusers_do_not_change_with_the_day_and_before_labelling_they_are_all_there_is() -> None:
    before, first, later = (draw(4, day).sources for day in (-7.0, 0.0, 30.0))
    others = [tuple(s for s in sources if s.kind != "labelled") for sources in (before, first, later)]
    assert before == others[0] == others[1] == others[2]


def test_a_part_of_the_field_of_view_holds_a_part_of_everything() -> None:
    many = dataclasses.replace(CONTENT, cells=(1,) * 40, grafts=(), solid_grafts=(), n_haemorrhages=12)
    spec = draw(1, content=many, share=0.25)
    assert len(labelled(spec)) == 10
    assert [s.kind for s in spec.sources].count("haemorrhage") == 3


def test_where_there_is_no_room_nothing_is_forced_in() -> None:
    crowded = Content(cells=(200_000,) * 50, iron_per_cell_pg=1.0, ms_am2_per_kg_fe=93.6)
    assert 0 < len(labelled(draw(1, content=crowded))) < 50


def test_single_cells_have_the_load_that_was_asked_for_on_average() -> None:
    content = Content(cells=(1,) * 40, iron_per_cell_pg=10.0, ms_am2_per_kg_fe=93.6)
    loads = [s.iron_pg for seed in range(20) for s in labelled(draw(seed, content=content))]
    assert np.mean(loads) == pytest.approx(10.0, rel=0.07)
    assert np.std(loads) == pytest.approx(5.0, rel=0.25)
    assert not any(isinstance(s, Point) for s in draw(0, content=content).sources)
