"""``python -m ferrosight`` is the command."""

import subprocess
import sys

import ferrosight


def test_the_package_runs_as_a_module():
    ended = subprocess.run(
        [sys.executable, "-m", "ferrosight", "--version"], capture_output=True, text=True, check=True
    )
    assert ferrosight.__version__ in ended.stdout
