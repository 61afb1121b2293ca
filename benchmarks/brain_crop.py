"""A negative control: an in-vivo brain with no labelled cells. Whatever is accepted is listed one by one.

FERROSIGHT_DATA=... uv run python benchmarks/brain_crop.py
"""

from __future__ import annotations

from _command import data_folder, print_table, run_command, write_results


def main() -> None:
    """Run, print, write."""
    result = run_command(data_folder() / "brain-crop", "crop")
    summary = result["summary"]["catalogue"]
    accepted = [row for row in result["clusters"] if row["status"] == "accepted"]
    print_table(
        {
            "candidates": summary["n_candidates"],
            "accepted": len(accepted),
            "rejected for": summary["rejected_by_reason"],
            "phase sign": f"{summary['phase_sign']}, {summary['phase_sign_source']}",
            "point spread": summary["point_spread"],
            "wall time, s": result["wall_s"],
            "peak memory, MB": result["peak_rss_mb"],
        }
    )
    for row in accepted:
        print(
            row["cluster_id"], row["moment_am2"], "A m², score", row["score"], "expected false", row["expected_false"]
        )
    measured = {"real brain without labelled cells: accepted (a negative control)": f"{len(accepted)}"}
    write_results("brain_crop", "uv run python benchmarks/brain_crop.py", measured, result)


if __name__ == "__main__":
    main()
