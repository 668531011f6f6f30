"""Foreign files of trades, quotes and bars: their format, the meaning of their columns, and their rows in our terms."""
