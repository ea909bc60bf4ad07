"""A real Apache Kafka and a real PostgreSQL as processes of this machine, for the demo, the tests and the benchmark.

Read kafka and postgres, then processes, which both use.

Public names:
  kafka       Kafka, SecureListener, create_topics, kafka_missing, fetch_jars
  postgres    Postgres, postgres_missing, postgres_programs
  processes   EngineMissing, EngineFailed, free_port, free_ports, run_tool
"""
