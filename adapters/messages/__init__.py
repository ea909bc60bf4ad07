"""The messages that orderflow reads and writes: events of the log, and the remotes' own JSON.

Read in this order:

- text: texts, ids and instants from outside, made safe to store. `digest_of`
- json_slices: JSON whose parts keep their bytes; the orders of a page of OR11. `slice_orders`
- fields: types of fields for models of the remotes' messages; most of them are lenient
- cloudevents: CloudEvents in records. `CloudEvent`, `record_of`, `from_record`
- snapshots: orders of Mirakl. `snapshot_of`, `snapshot_event`, `seal_snapshot`, `decode_snapshot`
- identity, contents: when two reads show the same order, and what changed in it. `digests_of`, `contents_of`
- countries: country codes, found by code or by name
- oms_events: reports of the OMS. `callback_of`, `oms_event`, `decode_oms`
- transitions: records that orderflow publishes through the outbox. `transition_record`, `dead_letter_record`
- contract: the schemas of these messages, for other teams     asyncapi: the document that lists the schemas
"""
