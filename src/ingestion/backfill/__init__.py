"""Loads history into the lake from files or from Kraken's REST API."""
