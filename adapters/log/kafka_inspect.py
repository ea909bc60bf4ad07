"""Questions about a Kafka cluster that only the doctor asks: rights, replicas, and the configuration of topics."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import kafka
from kafka.admin import ConfigFilterType, ConfigResource, ConfigResourceType
from kafka.errors import AuthorizationError, KafkaError

from adapters.errors import OrderflowError
from adapters.log.kafka import ADMIN_OPTIONS, until_answered
from adapters.log.kafka_client import CLIENT_OPTIONS, close_quietly, new_client, unavailable

#: Settings of a topic that the doctor reads.
TOPIC_SETTINGS: Final = ("cleanup.policy", "max.message.bytes", "min.insync.replicas", "retention.ms")


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as this user sees it. `rights`: the names of the operations that this user may do, such as READ."""

    name: str
    partitions: int
    replicas: int  # the fewest of any partition
    leaderless: int  # partitions that cannot be read or written now
    rights: frozenset[str]


class KafkaInspector:
    """One connection to a cluster. One thread uses it. Every method raises LogUnavailable."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Connect. `options`: those of every client, as kafka-python names them.

        Raises LogUnavailable and ConfigError.
        """
        self._admin: Any = new_client(kafka.KafkaAdminClient, {**CLIENT_OPTIONS, **ADMIN_OPTIONS, **options})

    def topics(self, names: Collection[str]) -> dict[str, Topic]:
        """Each of these topics that exists and that this user may see."""
        described = self._ask(lambda: self._admin.describe_topics(sorted(names)))
        return {one["name"]: _topic(one) for one in described if one["error_code"] == 0}

    def may_read_group(self, group: str) -> bool:
        """Whether this user may read as a member of a group. Without members in it: whether this user may see it."""
        try:
            asked = until_answered(lambda: self._admin.describe_groups([group], include_authorized_operations=True))
        except AuthorizationError:
            return False
        except KafkaError as error:
            raise unavailable(error) from error
        rights = asked[group].get("authorized_operations")
        return not rights or "READ" in rights

    def settings(self, topics: Collection[str]) -> dict[str, dict[str, str]]:
        """Those of TOPIC_SETTINGS, by topic. A topic whose settings this user may not read (DescribeConfigs) is left
        out."""
        asked = [ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(TOPIC_SETTINGS)) for name in topics]
        found = self._ask(lambda: self._admin.describe_configs(asked, config_filter=ConfigFilterType.ALL))
        by_topic = found.get("topic", {}).items()
        return {topic: {name: str(value["value"]) for name, value in one.items()} for topic, one in by_topic if one}

    def close(self) -> None:
        close_quietly(self._admin.close)

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return until_answered(question)
        except OrderflowError:
            raise
        except Exception as error:
            raise unavailable(error) from error


def _topic(described: Mapping[str, Any]) -> Topic:
    partitions = described["partitions"]
    return Topic(
        described["name"],
        len(partitions),
        min((len(one["replica_nodes"]) for one in partitions), default=0),
        sum(one["leader_id"] < 0 for one in partitions),
        frozenset(described["authorized_operations"] or ()),
    )
