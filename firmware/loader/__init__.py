"""The boot loader: verifies a slot, starts it, takes it back when it fails; never updated."""
