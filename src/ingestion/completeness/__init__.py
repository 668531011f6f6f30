"""Which trade ids are held and which are missing."""
