"""Dead letters: parses, lists and replays messages that were set aside."""
