"""The page: whole, self-contained, well-formed, readable without seeing, and honest when there is nothing."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.report.page import MAX_REJECTED_ROWS, _limit_context, render_visit_report, write_visit_report
from ferrosight.types import CLUSTERS, Config, LimitMap, Search, Table

NBSP = "\u00a0"

SECTIONS = ("overview", "gallery", "decoys", "quality", "limit", "table", "methods", "reading")


def render(visit: Any, config: Config | None = None, **changes: Any) -> str:
    """The page of a visit whose catalogue may be changed."""
    catalogue = dataclasses.replace(visit.catalogue, **changes)
    return render_visit_report(
        visit.scan, visit.field_map, visit.evidence, catalogue, config=config or Config(),
        provenance={"software": "ferrosight 0.1.0"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def gel_page(gel: Any) -> str:
    return render(gel)


@pytest.mark.parametrize("name", ["gel", "oblique", "empty", "control"])
def test_every_page_is_well_formed_complete_and_self_contained(
    name: str, request: pytest.FixtureRequest, read_page: Any
) -> None:
    text = render(request.getfixturevalue(name))
    page = read_page(text)
    assert set(SECTIONS) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "http://" not in text
    assert "https://" not in text
    assert not re.search(r'(?:src|href)="(?!#|data:)', text)
    assert not re.search(r"url\((?!#|&quot;#|\"#)", text)
    assert "@import" not in text
    assert "Research use only" in page.text
    assert not re.search(r"\bnan\b|\binf\b|None\b(?!\.)", page.text.replace("None.", ""))
    assert len(text.encode()) < 8e6


def test_every_picture_has_words_for_those_who_cannot_see_it(gel_page: str, read_page: Any) -> None:
    page = read_page(gel_page)
    assert len(page.images) > 24 * 5
    assert all(image.get("alt") for image in page.images)
    for tag in re.findall(r"<svg [^>]*>", gel_page):
        assert 'aria-hidden="true"' in tag or 'role="img" aria-label="' in tag


def test_every_link_leads_somewhere(gel_page: str, read_page: Any) -> None:
    page = read_page(gel_page)
    assert {f"#accepted-{i}" for i in range(1, 31)} <= set(page.links)
    assert {link for link in page.links if link.startswith("#picture-")} == {
        f"#picture-accepted-{i}" for i in range(1, 25)
    }
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_the_headline_tells_counts_totals_and_false_ones(gel_page: str, read_page: Any) -> None:
    text = read_page(gel_page).text
    assert "30 clusters were accepted out of 70 candidates" in text
    assert "are expected among them" in text
    for name in ("Total iron", "Total cells", "Total moment", "Expected false among them"):
        assert name in text
    assert text.count("95 %:") == 3


def test_the_gallery_holds_the_strongest_and_no_more(gel: Any, read_page: Any) -> None:
    few = read_page(render(gel, Config().with_settings({"report.gallery_size": 5})))
    assert [i for i in few.ids if i.startswith("picture-")] == [f"picture-accepted-{n}" for n in range(1, 6)]
    assert "The 5 strongest of 30 accepted clusters" in few.text
    none = read_page(render(gel, Config().with_settings({"report.gallery_size": 0})))
    assert not [i for i in none.ids if i.startswith("picture-")]


def test_where_few_are_accepted_each_is_shown_and_the_best_rejected_follow(oblique: Any, read_page: Any) -> None:
    page = read_page(render(oblique))
    shown = [i for i in page.ids if i.startswith("picture-")]
    assert shown[:3] == ["picture-accepted-1", "picture-accepted-2", "picture-accepted-3"]
    assert len(shown) == 3 + 6
    assert "Every accepted cluster" in page.text


def test_odd_names_are_escaped_everywhere(gel: Any, read_page: Any) -> None:
    evil = '<script>alert("x")</script>&'
    ids = gel.catalogue.clusters["cluster_id"].astype("U64").copy()
    old = str(ids[0])
    ids[0] = evil
    patches = tuple(
        dataclasses.replace(p, cluster_id=evil) if p.cluster_id == old else p for p in gel.catalogue.patches
    )
    reasons = gel.catalogue.clusters["reasons"].astype("U64").copy()
    reasons[-1] = "<b>odd</b>"
    visit = dataclasses.replace(gel, scan=dataclasses.replace(gel.scan, subject='<i>"s"</i>'))
    catalogue = dataclasses.replace(
        gel.catalogue,
        clusters=gel.catalogue.clusters.with_columns(cluster_id=ids, reasons=reasons),
        patches=patches,
        notes=("<u>note</u>",),
        phase_sign_source="<em>?</em>",
    )
    text = render_visit_report(
        visit.scan, visit.field_map, visit.evidence, catalogue, config=Config(), provenance={"<k>": "<v>"}
    )
    page = read_page(text)
    assert not {"i", "u", "em", "k", "v"} & set(page.tags)
    assert page.tags.count("script") == 1
    assert evil in page.text
    assert '<i>"s"</i>' in page.text


def test_what_could_have_been_seen_is_shown_where_it_is_known(oblique: Any, read_page: Any) -> None:
    iron = np.where(oblique.field_map.mask, 2.0, np.nan).astype(np.float32)
    iron[tuple(np.argwhere(oblique.field_map.mask)[0])] = 300.0
    limit = LimitMap(oblique.scan.grid, iron, Search(), 6.5, iron_per_cell_pg=0.5)
    page = read_page(
        render_visit_report(
            oblique.scan, oblique.field_map, oblique.evidence, oblique.catalogue, limit=limit, config=Config(),
            provenance={},
        )
    )  # fmt: skip
    assert "a tenth of the tissue 2.00 pg 4.0" in " ".join(page.text.replace(NBSP, " ").split())
    assert "Not known in iron" not in page.text
    assert "Not known in iron" in read_page(render(oblique)).text
    nothing = dataclasses.replace(limit, iron_pg=np.full_like(iron, np.nan))
    assert _limit_context(nothing, oblique.scan) == {"limit_svg": None}


def test_a_page_of_nothing_says_so_kindly(empty: Any, read_page: Any) -> None:
    text = read_page(render(empty)).text
    assert "No labelled cluster was found: nothing in this scan looked like one" in text
    assert "too few candidates to say how small a cluster would have been accepted" in text
    assert "The sign of phase is unknown" in text
    assert "so there are no masses to plot" in text


def test_a_page_of_rejected_candidates_says_what_would_have_been_seen(control: Any, read_page: Any) -> None:
    text = read_page(render(control)).text.replace("\u00a0", " ")
    assert "25 candidates were examined, and none was accepted" in text
    assert re.search(r"a lone cluster of about [\d.]+ .A m², [\d.]+ .g of iron, would just have been accepted", text)
    assert "A gas bubble, whose signal void is bound to its moment, explains it better." in text


def test_a_scan_whose_decoys_score_high_says_that_no_score_would_do(control: Any, read_page: Any) -> None:
    null = dataclasses.replace(control.catalogue.null, curve_expected=np.full(73, 2.0))
    text = read_page(render(control, null=null)).text
    assert "not even a score of 40 would have been enough for a lone cluster" in text


def test_what_holds_for_every_candidate_is_not_said_of_each(oblique: Any) -> None:
    remarks = np.full(len(oblique.catalogue.fits), "sign_unknown;partial_window;bubble_not_excluded")
    remarks[0] = "sign_unknown;bubble_not_excluded"
    page = render(oblique, fits=oblique.catalogue.fits.with_columns(remarks=remarks))
    tags = re.findall(r'<p class="tags">(.*?)</p>', page)
    assert len(tags) == 2 + 6
    assert all("partial window" in tag for tag in tags)
    assert not any("sign unknown" in tag or "bubble" in tag for tag in tags)


def test_missing_numbers_are_na_and_nothing_breaks(gel: Any, read_page: Any) -> None:
    n = len(gel.catalogue.clusters)
    numbers = [c.name for c in CLUSTERS.columns if c.dtype == "number"]
    lost = gel.catalogue.clusters.with_columns(**dict.fromkeys(numbers, np.full(n, np.nan)))
    fits = gel.catalogue.fits
    no_fits = fits.with_columns(**{c.name: np.full(n, np.nan) for c in fits.schema.columns if c.dtype == "number"})
    text = render(gel, clusters=lost, fits=no_fits)
    page = read_page(text)
    assert "n/a" in page.text
    assert not re.search(r"\bnan\b", page.text)
    assert 'data-key="nan"' not in text


def test_a_long_list_of_rejected_candidates_is_cut_and_says_so(gel: Any, read_page: Any) -> None:
    n = MAX_REJECTED_ROWS + 25
    many = Table.from_rows(CLUSTERS, [{"cluster_id": f"c{i}", "status": "rejected"} for i in range(n)])
    fits = Table(gel.catalogue.fits.schema, {"cluster_id": many["cluster_id"]})
    page = read_page(render(gel, clusters=many, fits=fits, patches=()))
    assert len([i for i in page.ids if i.startswith("rejected-")]) == MAX_REJECTED_ROWS
    assert "25 weaker ones are not listed" in page.text


def test_the_table_sorts_by_numbers(gel_page: str) -> None:
    keys = re.findall(r'<tr id="accepted-\d+">\s*<td class="n" data-key="([^"]*)"', gel_page)
    assert [float(key) for key in keys] == list(range(1, 31))
    assert "function" in gel_page or "=>" in gel_page


def test_settings_and_provenance_are_listed(gel: Any, read_page: Any) -> None:
    page = read_page(render(gel, Config().with_settings({"clusters.q": 0.01})))
    assert all(name in page.text for name in Config().as_dict())
    assert "0.01 (changed)" in page.text
    assert "ferrosight 0.1.0" in page.text


def test_writing_is_all_or_nothing(gel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sub-gel_report.html"
    path.write_text("old", encoding="utf-8")

    def fail(self: Path, target: Path) -> Path:
        raise OSError(f"{self} cannot become {target}")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        with pytest.raises(InputError, match=r"cannot be written .*cannot become"):
            write_visit_report(path, *gel.parts, config=Config(), provenance={})
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]
    seen: list[tuple[str, int, int]] = []
    write_visit_report(path, *gel.parts, config=Config(), provenance={}, on_progress=lambda *a: seen.append(a))
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [path]
    assert [done for _, done, _ in seen] == list(range(len(seen)))
    assert seen[-1][1] == seen[-1][2]


def test_the_same_visit_gives_the_same_page(oblique: Any) -> None:
    assert render(oblique) == render(oblique)
