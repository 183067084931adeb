"""From a question to an answer: which targets are asked, in which order, how often, and what is passed on.

Nothing is passed on before the first content has arrived: until then a failure is invisible to the caller,
because the same target or the next one is asked. After it, a failure ends the call.
"""
