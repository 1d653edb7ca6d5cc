"""Keys, roles and signed documents: everything that decides what a fleet runs.

`keys` makes and keeps keys, `documents` builds payloads, `cose` signs them, `ceremony` makes and
changes trust roots, `explain` verifies with reasons (by the device's own code), `repository`
publishes to a static directory.
"""

from .ceremony import Ceremony
from .cose import sign, sign_file
from .documents import head, ops, release
from .keys import SigningKey

__all__ = ["Ceremony", "SigningKey", "head", "ops", "release", "sign", "sign_file"]
