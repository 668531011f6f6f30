"""The live feed: Kraken's stream, deduplicated, with gaps marked and holes refilled, published to Kafka."""
