"""Many callers, one model: what runs together, when, and whose answer is whose.

`entry` is one input and the call it belongs to, `queue` knows who is next and who is nearest in length,
`execution` runs one batch, `batcher` decides when and hands out the answers.
"""

from services.inference.batching.batcher import Batcher
from services.inference.batching.entry import Outcome
from services.inference.batching.policy import BatchStats, Policy, Runner

__all__ = ["BatchStats", "Batcher", "Outcome", "Policy", "Runner"]
