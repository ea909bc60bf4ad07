"""What a person can look up and do: functions that the command line calls today, and a web page can call tomorrow.

Nothing here prints, asks a question or needs a terminal. `orders` finds an order and applies a decision about it,
`explain` says why an order is in its state, `causes` why a person should look at it and what to do, `known` has the
facts in a few lines, and what the remotes wrote as they wrote it, `verify` compares an order with its journal.
`shops`, `shop_account`, `shop_documents`, `dead_letters` and `offsets` change what their names say, and write each
change into the table `audit`. `events` checks events in files and makes records of them. If something cannot be done,
a function raises an error of `errors`, whose text says why.
"""
