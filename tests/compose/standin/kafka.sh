#!/usr/bin/env bash
# What the official image does at its start: KAFKA_* variables become server.properties, the storage is formatted once.
set -euo pipefail
config=/tmp/server.properties
env | grep '^KAFKA_' | grep -v '^KAFKA_HEAP_OPTS=' | while IFS='=' read -r name value; do
  key=$(tr '[:upper:]_' '[:lower:].' <<<"${name#KAFKA_}")
  echo "$key=$value"
done >"$config"
mkdir -p "$KAFKA_LOG_DIRS"
if [ ! -e "$KAFKA_LOG_DIRS/meta.properties" ]; then
  java -Xmx128m -cp '/opt/kafka/*' kafka.tools.StorageTool format --cluster-id "$CLUSTER_ID" --config "$config"
fi
# The heap option is two words at most and ours.
# shellcheck disable=SC2086
exec java ${KAFKA_HEAP_OPTS:-} -XX:+UseSerialGC -cp '/opt/kafka/*' kafka.Kafka "$config"
