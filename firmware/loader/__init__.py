"""The boot loader: verifies a slot, starts it, and takes it back when it fails. Never updated in the field."""
