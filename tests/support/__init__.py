"""Real servers and data for tests and benches."""
