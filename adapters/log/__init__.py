"""The log between poller, OMS, consumer and relay: Kafka, or a table of the store.

Each log implements `ports.LogWriter` and `ports.LogReader`. Read in this order:

- embedded: the log for a single process, as a table of the store. `EmbeddedLog`
- kafka: publishing records to Kafka, and asking its cluster about topics. `KafkaLog`
- kafka_reader: one member of a consumer group, and the check that its client still works. `KafkaReader`
- kafka_client: how the others create and close the clients of kafka-python
- kafka_inspect: questions about a cluster that only the doctor asks. `KafkaInspector`
"""
