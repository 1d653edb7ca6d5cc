"""Takes from classes what was used once: how to make what there is one of.

An assignment frees the code; `del` of a class's attribute keeps it in the slot.
"""


def by_loader() -> None:
    """How the loader chose: its object stays, for what the application asks of it."""
    from loader import start
    from loader.handover import Boot

    Boot.__init__ = Boot.select = Boot._open = Boot._settle = None
    Boot.activate = Boot.accept_release = None
    for name in ("device_facts", "hardware_cause", "reset_cause"):
        if hasattr(start, name):
            delattr(start, name)


def constructors(kinds) -> None:
    for kind in kinds:
        kind.__init__ = None
