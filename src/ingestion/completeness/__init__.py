"""Completeness: which trade ids the lake holds and which are missing."""
