"""The servers of the native stack: configurations, probes, ports, storage."""
