"""What is made of the lake: forecasts in gold, backups, restores, the reading client."""
