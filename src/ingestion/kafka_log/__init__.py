"""The market log on Kafka: publishing, reading batches, validation, epochs and positions."""
