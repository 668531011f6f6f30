"""A local Kraken: its protocol over a market computed from (seed, symbol, time), with scripted faults."""
