"""The command line. Nothing heavy is imported before a command runs."""

from ferrosight.cli.commands import app, main

__all__ = ["app", "main"]
