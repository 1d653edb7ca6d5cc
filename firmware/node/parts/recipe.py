"""A stage of composing a node (see `basis`): what the product's configuration says.

Before the parts that it configures, while there is still room to read it.
"""

from node.core.config import parse


def make(node) -> bool:
    node.recipe = parse(node.storage.read(node.boot.slot + "/product.cbor"))
    return True
