"""Anomaly models: trained here from recorded telemetry, run on the device by node.core.model."""
