"""Starts a real Apache Kafka and a real PostgreSQL on this machine, for the demo, the tests and the benchmark.

Read kafka and postgres first, then processes, which both of them use.

Public names:
  kafka       Kafka, SecureListener, create_topics, kafka_missing, fetch_jars
  postgres    Postgres, postgres_missing, postgres_programs
  processes   EngineMissing, EngineFailed, free_port, free_ports, run_tool
"""
