"""From Mirakl to the log: when a shop is polled, and what a poll publishes."""
