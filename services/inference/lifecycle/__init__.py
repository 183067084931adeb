"""Which models there are, where each is in its life, and which of them are in memory.

    available ──▶ loading ──▶ ready ──▶ unloading ──▶ available
                     └──▶ failed ──load──▶ loading

`states` is what can be told of a model, `kinds` what a model and its loader have to offer. A `slot` is one
model's place: its state and its leases. `budget` counts the memory that is spoken for, `residency` decides
who comes in and who goes, `transition` moves models in and out, `idle` looks for those that nobody calls, and
`roster` says which models there are by the configuration in force, and `registry` puts these together.

Invariants, each with a test in tests/unit/inference/lifecycle:

- A call holds a lease for as long as it uses a model. A model is closed when it has no leases left, and not
  before; from the moment that it is to go, it gives no new ones.
- A call for a model that is ready never waits: its lease takes no lock and no turn of the event loop.
- A model is loaded once, however many ask for it. Who waits for it gets a lease in the moment that it is
  ready, before anything else can happen to it. Who leaves takes nothing along, and stops nothing.
- Nobody waits for the loading of a model that somebody else wants, except for memory that it holds, and
  except that models whose size is not known yet are opened one after the other.
- Preparing (downloads, hashes, graphs) holds no lock. Memory is reserved before a model is opened.
- With a budget, a model is opened only when what the process has, what is reserved and what the model needs
  is within it. Reservations are served in the order in which they were made.
- What is evicted was used longest ago, and idle models go before busy ones. A model stays at least as long as
  opening it took, so that opening takes at most about half of the time however many models want in.
- Another configuration is in force at once and as a whole. A model that it has not changed is not touched.
  One that it has changed answers until its successor is ready, and on if that cannot be loaded; a call gets
  either the one or the other. A model that it does not name gives no new leases.
- A failed load takes no memory, and the model keeps the problem until `load` tries again.
- All state belongs to the event loop; files, sessions and the system's memory accounts are read in threads.

How much memory a model needs is measured: how far the process grew while it was opened and nothing else was
opened or closed. A model that was never measured counts with 2.5 times its weights. What opening takes only
for a moment is not in it: a budget should leave room for the largest file once more.
"""

from services.inference.lifecycle.kinds import LoadedModel, Loader, Prepared
from services.inference.lifecycle.registry import Lease, Registry
from services.inference.lifecycle.states import (
    Cause,
    LifecycleEvent,
    LifecycleSettings,
    ModelFacts,
    ModelState,
    ModelStatus,
    Precision,
)

__all__ = [
    "Cause",
    "Lease",
    "LifecycleEvent",
    "LifecycleSettings",
    "LoadedModel",
    "Loader",
    "ModelFacts",
    "ModelState",
    "ModelStatus",
    "Precision",
    "Prepared",
    "Registry",
]
