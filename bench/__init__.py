"""Programs that measure the lake; each one's last line of output is JSON."""
