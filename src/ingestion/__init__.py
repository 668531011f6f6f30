"""Ingestion: from Kraken's API or a file into bronze and silver."""
