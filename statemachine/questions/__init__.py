"""Questions about facts that several rules ask: what left, what the OMS has, what was settled."""
