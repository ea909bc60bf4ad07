"""`orderflow demo` and `orderflow simulate`: the whole service against simulated remotes.

Read `embedded` first (everything in one process), then `full` (Kafka, PostgreSQL, a process for each role). Both write
their configuration with `settings`; `report` watches them, audits the books and prints the result. `audit` reads from
the journal what the audit compares with those books. `fleet` starts and stops the processes of the full demo.
`simulate` runs the simulators without a service.
"""
