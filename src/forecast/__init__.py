"""Targets, models, their judgement, and the API that serves them."""
