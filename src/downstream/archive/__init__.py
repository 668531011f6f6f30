"""The archive: day files in the object store, each verified against its manifest."""
