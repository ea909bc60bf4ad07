"""From the store to the remotes: the worker claims commands, makes their calls and stores the results."""
