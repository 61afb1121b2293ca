"""Running the command line inside the test's own process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from ferrosight.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    def assert_refused(self) -> str:
        """Exit code 2, nothing on standard output, one sentence without a traceback, which is returned."""
        assert self.code == 2
        assert self.out == ""
        assert "Traceback" not in self.err
        said = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(said) == 1
        assert self.err.splitlines()[-1] == said[0]
        return said[0]


@pytest.fixture
def ferrosight(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run ``ferrosight`` with these arguments."""

    def call(*arguments: object) -> Ended:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Ended(int(ended.value.code or 0), out, err)

    return call
