"""MQTT 3.1.1 and 5, QoS 0 and 1: a machine that does no I/O. Start with `session`."""
