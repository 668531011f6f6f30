"""The consumer: from Kafka to bronze, silver and Redis, each message exactly once."""
