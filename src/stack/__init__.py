"""Runs the lake natively: the process table, the servers' configurations, and up, down, status and logs."""
