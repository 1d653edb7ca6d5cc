"""Code that is needed now and then: loaded for the occasion, forgotten after it.

Bytecode on littlefs is copied to the heap when it is imported and stays there as long as
`sys.modules` or the package around it refers to it. `keep` notes what belongs to the node for as
long as it runs; what is imported later, by somebody who has asked to `borrow`, is taken out again
when the last borrower has given back. Not before: two copies of one module would have two classes
of one name.
"""

import gc
import sys

_kept: set = set()
_borrowers = [0]


def keep(but) -> None:
    """What is loaded now stays, but for some modules."""
    _kept.update(sys.modules)
    for name in but:
        _kept.discard(name)


def borrow(load, *given):
    """`load(*given)`, which may import what it likes; `give_back` when its result is of no use."""
    if not _borrowers[0]:
        gc.collect()
    _borrowers[0] += 1
    try:
        return load(*given)
    except BaseException:
        give_back()
        raise


def part(module: str, function: str, *given):
    """Borrow by name: `function(*given)` of `module`."""
    return borrow(_call, module, function, given)


def briefly(module: str, function: str, *given):
    """The same, given back at once: the result must not hold on to what was loaded."""
    found = part(module, function, *given)
    give_back()
    return found


def _call(module: str, function: str, given):
    __import__(module)
    return getattr(sys.modules[module], function)(*given)


def give_back() -> None:
    """One borrower less; the last one forgets every module that is not kept."""
    _borrowers[0] -= 1
    if _borrowers[0]:
        return
    _forget()


def kept() -> set:
    """A copy of what `keep` has noted: for `forget_but`."""
    return set(_kept)


def forget_but(names) -> None:
    """Only `names` are kept: what came since they were is forgotten."""
    _kept.clear()
    _kept.update(names)
    _forget()


def _forget() -> None:
    for name in list(sys.modules):
        if name not in _kept:
            drop(name)
    gc.collect()


def forget_verifier() -> None:
    """Drop the loader's modules that verify; its methods load them again."""
    for name in ("loader.slots", "loader.trust"):
        drop(name)


def drop(name: str) -> None:
    """Take one module out of sys.modules and out of its package."""
    sys.modules.pop(name, None)
    package, _, leaf = name.rpartition(".")
    parent = sys.modules.get(package)
    if parent is not None and hasattr(parent, leaf):
        delattr(parent, leaf)
