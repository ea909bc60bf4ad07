"""Messages: what is read and written, as events of the log and as the remotes' own JSON.

Read in this order:

- text: texts, identifiers and instants made safe to store. `digest_of`
- json_slices: JSON without loss, and a page of OR11 cut into its orders. `slice_orders`
- fields: lenient fields for models of the remotes' messages
- cloudevents: CloudEvents in records. `CloudEvent`, `record_of`, `from_record`
- snapshots: orders of Mirakl. `snapshot_of`, `snapshot_event`, `decode_snapshot`
- oms_events: reports of the OMS. `callback_of`, `oms_event`, `decode_oms`
- transitions: records that orderflow publishes through the outbox. `transition_record`, `dead_letter_record`
- contract: the same messages as schemas for other teams     asyncapi: the document that lists them
"""
