"""``python -m ferrosight``, where the command itself is not on the path."""

from ferrosight.cli import main

main()
