"""The demonstration: the whole product, once through, on simulated boards."""
