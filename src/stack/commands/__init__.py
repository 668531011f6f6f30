"""Up, down, status and logs."""
