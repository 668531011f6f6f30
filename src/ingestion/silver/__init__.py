"""Rebuilds silver feature rows from bronze."""
