"""How a stage tells its caller how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable

#: Called as ``progress(what, done, total)``.
Progress = Callable[[str, int, int], None]
