"""Feature definitions and the engine that folds events into feature rows; pure."""
