"""The native stack's commands: up, down, status."""
