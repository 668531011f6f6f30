"""From Kraken's protocol, or a file, to bronze and silver."""
