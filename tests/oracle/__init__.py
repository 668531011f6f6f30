"""Independent, plain implementations that the compiled ones are tested against."""
