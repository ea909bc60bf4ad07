"""The store, one SQLite file or one PostgreSQL database, and every statement on it.

Read schema.py first (the tables and their constraints), then transaction.py (`Store`, `Transaction`),
then the module of a table. Each table has one module with its row type and most of its statements:

- orders, snapshots, journal, commands: written by consumer/applying/apply.py; commands by workers too (lanes.py)
- progress: how far each partition of the log was applied
- shops, cursors: accounts with their switches, and how far their polls have come
- leases, budgets: which process polls or relays, and the calls that all processes together made
- outbox, dead_letters, audit, policies, objectives

A write takes the transaction first, `orders.save(tx, ...)`; a read takes the store, `orders.find(store, ...)`. The
service uses the same names for other things, so other packages import the modules as `order_rows`, `command_rows` and
so on.

The other modules: lanes.py (how a worker claims commands), held.py (which orders are locked), bulk.py (statements on
many rows, where the engines differ), engine.py (how an engine is opened), migrating.py and migrations/, not_now.py
(after which errors a retry may succeed), clock.py, notices.py, health.py, counts.py (what the gauges read),
backlog.py (for `orderflow status`), copy.py (SQLite to PostgreSQL), forgetting.py (orders that only the OMS knows),
retention.py (snapshots on which nothing rests), facts_json.py and headers_json.py (JSON in columns). The table of the
embedded log has its module in adapters/log.
"""
