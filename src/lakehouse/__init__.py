"""The kernel: records, schema, settings, errors and the stores; it imports none of the other packages."""
