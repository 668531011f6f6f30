"""A local Kraken: its protocol over a market that is a function of (seed, symbol, time), with faults on demand."""
