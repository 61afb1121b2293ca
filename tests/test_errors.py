"""The error tree says who has to act."""

from __future__ import annotations

import pytest

from ferrosight import errors


@pytest.mark.parametrize("name", ["BidsError", "ImageError", "SidecarError", "LabelError", "ConfigError"])
def test_what_the_user_can_mend_is_an_input_error(name: str) -> None:
    assert issubclass(getattr(errors, name), errors.InputError)


def test_an_analysis_error_is_not_the_users_fault() -> None:
    assert issubclass(errors.AnalysisError, errors.FerrosightError)
    assert not issubclass(errors.AnalysisError, errors.InputError)


def test_programming_errors_are_not_caught_with_the_tree() -> None:
    assert not issubclass(errors.FerrosightError, ValueError | TypeError | ArithmeticError | OSError)


def test_the_drawn_tree_holds_every_error() -> None:
    classes = [name for name, value in vars(errors).items() if isinstance(value, type)]
    assert [name for name in classes if name not in (errors.__doc__ or "")] == []
