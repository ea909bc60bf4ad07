"""The log between poller, OMS, consumer and relay: Kafka, or a table of the store.

Both sides of `ports.LogWriter` and `ports.LogReader`. Read in this order:

- embedded: the log of one process on SQLite, in the store's own database. `EmbeddedLog`
- kafka: publishing to Kafka, and questions to its cluster. `KafkaLog`
- kafka_reader: one member of a consumer group, and the check that its client still works. `KafkaReader`
- kafka_client: the clients of kafka-python that both need
"""
