"""What a feature is and how events become feature rows; pure."""
