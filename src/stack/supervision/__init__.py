"""The process table and its supervisor."""
