"""Where a call goes: routes, the endpoints behind them, and what becomes of a call that one of them fails."""
