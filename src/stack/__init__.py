"""The lake's processes: what they are, how they are started, whether they are well."""
