"""The producer: publishes Kraken's stream to Kafka, deduplicated, with quote gaps marked and missing trades filled."""
