"""The lake as proven files in the object store."""
