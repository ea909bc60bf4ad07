"""From the log to the store: the consumer reads records, and the only writer of orders applies them."""
