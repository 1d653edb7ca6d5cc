"""Register-level models of sensors: what the chip on the other end of the wire does."""
