"""Every error that Ferrosight raises on purpose.

    FerrosightError
    ├── InputError            bad input or usage; the command line ends with exit code 2
    │   ├── BidsError         folders, file names, missing partners
    │   ├── ImageError        an image that cannot be read or makes no sense
    │   ├── SidecarError      a metadata field that is missing or contradicts itself
    │   ├── LabelError        an unknown or impossible iron-oxide label
    │   └── ConfigError       an unknown setting, or a value out of its bounds
    └── AnalysisError         the input was fine, the visit could not be analysed all the same

A message is one sentence (or two): what was expected, what was found, what to do.
Anything else that rises is a programming error and is never caught.
"""

from __future__ import annotations


class FerrosightError(Exception):
    """Base of all errors raised on purpose."""


class InputError(FerrosightError):
    """Bad input or usage: the user can mend it. Exit code 2."""


class BidsError(InputError):
    """Folders, file names or partner files are not as BIDS asks."""


class ImageError(InputError):
    """An image cannot be read, or its content makes no sense."""


class SidecarError(InputError):
    """A metadata field is missing, out of range or contradicts another."""


class LabelError(InputError):
    """An iron-oxide label is unknown or its numbers are impossible."""


class ConfigError(InputError):
    """A setting is unknown, or its value is out of bounds."""


class AnalysisError(FerrosightError):
    """The input was readable, but this visit could not be analysed."""
