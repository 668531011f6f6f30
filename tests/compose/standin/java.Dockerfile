# QuestDB, Kafka and Redis, from the same jars and packages as the native stack; the command says which.
FROM tradelake-standin/java-base
COPY questdb /opt/questdb
COPY kafka /opt/kafka
COPY kafka.sh /usr/local/bin/kafka.sh
CMD ["java", "-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "--add-exports=java.base/jdk.internal.math=io.questdb", "-p", "/opt/questdb/questdb-9.3.4.jar", "-m", "io.questdb/io.questdb.ServerMain", "-d", "/var/lib/questdb"]
