"""The main job on real iron: particles and bubbles in a gel at 11.7 T.

    FERROSIGHT_DATA=... uv run python benchmarks/gel.py

No truth is known for each particle; what is known is that no single source gives the opposite polarity or
another l = 2 harmonic. Bounds: at least 180 dipoles over all eight slices, among them the one at voxel
(13, 88, 4); at most one accepted of the wrong polarity; 30 s and 1.5 GB on two cores once compiled. For
comparison MRI-PDQ (as measured elsewhere on the same scan): 169 s, two of eight slices, 86-102 dipoles.
"""

from __future__ import annotations

import numpy as np

from _command import data_folder, print_table, run_command, write_results

KNOWN_VOXEL = (13, 88, 4)


def main() -> None:
    """Run, print, write."""
    result = run_command(data_folder() / "gel", "gel", "--label", "ferumoxides")
    summary = result["summary"]["catalogue"]
    voxels = np.array([[float(row[f"{axis}_voxel"]) for axis in "ijk"] for row in result["fits"]])
    nearest = int(np.linalg.norm(voxels - KNOWN_VOXEL, axis=1).argmin())
    known = result["clusters"][nearest]
    dipoles = summary["n_accepted"] + summary["n_rejected_only_as_bubble"]
    counts = summary["counts_at_threshold"]
    windows = summary["windows"]
    edges = [*summary["chi2_dof_edges"], "∞"]
    histogram = ", ".join(
        f"{low}-{high}: {n}"
        for low, high, n in zip(edges[:-1], edges[1:], summary["chi2_dof_counts"], strict=True)
        if n
    )
    rows = {
        "accepted, or rejected only as bubbles (≥ 180)": dipoles,
        "accepted per slice (all eight)": summary["n_accepted_per_slice"],
        "nearest to voxel (13, 88, 4)": f"{np.round(voxels[nearest], 2).tolist()} {known['status']}",
        "opposite polarity at the same score (≤ 1)": counts["opposite"],
        "decoy classes at the same score": {k: v for k, v in counts.items() if k not in ("dipole", "opposite")},
        "score threshold, false candidates expected": f"{summary['score_threshold']:.2f}, "
        f"{summary['expected_false_accepted']:.2f}",
        "χ²/dof of the accepted": histogram,
        "inner and outer window within 2 errors": f"{windows['n_agree']} of {windows['n_compared']}; "
        f"{windows['n_widened']} had their errors widened",
        "point spread": summary["point_spread"],
        "phase sign": f"{summary['phase_sign']}, {summary['phase_sign_source']}",
        "wall time, s (≤ 30; MRI-PDQ 169 for two slices)": result["wall_s"],
        "peak memory, MB (≤ 1500)": result["peak_rss_mb"],
        "load average before": round(result["load_before"], 1),
    }
    print_table(rows)
    measured = {
        "real gel, 11.7 T: dipoles accepted at q ≤ 0.05 (MRI-PDQ: 86–102 in two of eight slices)": f"{dipoles}",
        "real gel: candidates of the opposite polarity at the score of the accepted": f"{counts['opposite']}",
        "real gel: whole command, two cores, compiled (MRI-PDQ: 169 s)": f"{result['wall_s']} s, "
        f"{result['peak_rss_mb']} MB",
    }
    write_results("gel", "uv run python benchmarks/gel.py", measured, {**result, "table": rows})


if __name__ == "__main__":
    main()
