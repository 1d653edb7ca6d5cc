"""Code that is needed now and then: loaded for the occasion, forgotten after it.

Bytecode on littlefs is copied to the heap when it is imported and stays there as long as
`sys.modules` or the package around it refers to it. `forget` takes out what came since `loaded`.
"""

import gc
import sys


def loaded() -> set:
    """The modules there are now."""
    return set(sys.modules)


def forget(before: set) -> None:
    """Drop every module of ours that came after `before`; what still uses one keeps it alive."""
    for name in list(sys.modules):
        if name not in before and name[:5] == "node.":
            drop(name)
    gc.collect()


def drop(name: str) -> None:
    """Take one module out of sys.modules and out of its package."""
    sys.modules.pop(name, None)
    package, _, leaf = name.rpartition(".")
    parent = sys.modules.get(package)
    if parent is not None and hasattr(parent, leaf):
        delattr(parent, leaf)
