"""Kraken's public API: WebSocket v2 and REST, messages apart from connections."""
