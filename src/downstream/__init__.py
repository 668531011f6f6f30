"""Consumers of the lake: the predictor, backup and restore, retention, the reading client."""
