"""The updatable application of a node: one signed release."""
