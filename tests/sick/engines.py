"""Sicknesses of the engines: PostgreSQL and Kafka hang, are slow, or lock."""

from tests.sick.sickness import Sickness, everybody, logged, not_ready

ENGINES = (
    Sickness(
        "database-frozen",
        "PostgreSQL, all its processes",
        "a database that takes connections and answers nothing: probes and metrics answer, nothing is lost",
        lambda service: service.postgres.freeze(),
        lambda service: service.postgres.thaw(),
        short_seconds=8.0,
        touches=everybody,
        signs=(not_ready("the store does not answer"), logged("loop_failed", cause="timeout")),
    ),
    Sickness(
        "broker-frozen",
        "the Kafka broker",
        "a broker that answers nothing: probes and metrics answer, callbacks are refused at once",
        lambda service: service.kafka.freeze(),
        lambda service: service.kafka.thaw(),
        touches=everybody,
        signs=(logged("loop_failed", cause="timeout"),),
    ),
)
