"""Dead letters: parsed, listed and replayed."""
