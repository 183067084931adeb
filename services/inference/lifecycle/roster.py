"""Which models the configuration names, and what becomes of them when it changes.

A model whose section changes is loaded anew while the old one goes on answering; the new one takes its place
in the moment in which it is ready. Until then it is the old one's successor.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from services.config import LocalModel
from services.inference.lifecycle.kinds import LoadedModel
from services.inference.lifecycle.slot import Slot
from services.inference.lifecycle.states import ModelState, ModelStatus

M = TypeVar("M", bound=LoadedModel)

COMINGS_AND_GOINGS: Final = ("preload", "idle_unload_seconds")
"""Settings of a section that decide when a model is in memory, and nothing about its answers."""


class Roster(Collection[Slot[M]]):
    """The models of one service. Iterating over it gives all that may hold memory, leaving ones included.

    Its methods change everything at once, without waiting: nobody sees half of a change, nor does another
    thread that only reads.

    Args:
        make: Makes the slot of a model.
        unload: Begins to unload a model that is ready and has no place here any more.

    Attributes:
        current: The models that answer, by name, in the order of the configuration.
        successors: The models that are about to take the place of the one of their name.
    """

    def __init__(
        self, make: Callable[[str, LocalModel], Slot[M]], unload: Callable[[Slot[M]], object]
    ) -> None:
        self._make = make
        self._unload = unload
        self._leaving: list[Slot[M]] = []
        self.current: dict[str, Slot[M]] = {}
        self.successors: dict[str, Slot[M]] = {}

    def __iter__(self) -> Iterator[Slot[M]]:
        return iter([*self.current.values(), *self.successors.values(), *self._leaving])

    def __len__(self) -> int:
        return len(self.current) + len(self.successors) + len(self._leaving)

    def __contains__(self, slot: object) -> bool:
        return any(one is slot for one in self)

    def status(self, slot: Slot[M]) -> ModelStatus:
        """Return what is known of a current model, its successor included."""
        successor = self.successors.get(slot.name)
        if successor is None:
            return slot.status
        if successor.state is ModelState.FAILED:
            detail = f"as it was before its section changed; the changed one failed: {successor.problem}"
        else:
            detail = (
                f"as it was before its section changed; the changed one is {successor.detail or 'loading'}"
            )
        return replace(slot.status, detail=detail)

    def failed(self) -> Mapping[str, str]:
        """Return the problems of models that could not take their places, by name."""
        successors = list(self.successors.items())  # other threads read, too
        return {name: slot.problem for name, slot in successors if slot.state is ModelState.FAILED}

    def change(self, sections: Mapping[str, LocalModel]) -> list[Slot[M]]:
        """Have the models that a configuration names, and no others; return those that are to be loaded.

        What nothing has changed of stays as it is, whatever it is doing.
        """
        before, current = dict(self.current), dict[str, Slot[M]]()
        waiting, successors = dict(self.successors), dict[str, Slot[M]]()
        wanted: list[Slot[M]] = []
        going: list[Slot[M]] = []
        for name, section in sections.items():
            slot, successor = before.pop(name, None), waiting.pop(name, None)
            if slot is not None and _is_same(slot.section, section):
                slot.section = section
                current[name] = slot
            elif slot is not None and successor is not None and _is_same(successor.section, section):
                successor.section = section
                current[name], successors[name] = slot, successor
                wanted.append(successor)  # if it had failed: somebody may have mended what was wrong
                continue
            elif slot is not None and slot.state is ModelState.READY:
                current[name], successors[name] = slot, self._make(name, section)
                wanted.append(successors[name])
            else:
                current[name] = entering = self._make(name, section)
                going += [slot] if slot is not None else []
                wanted += [entering] if section.preload else []
            going += [successor] if successor is not None else []
        self.current, self.successors = current, successors
        for slot in (*going, *before.values(), *waiting.values()):
            self._retire(slot)
        return wanted

    def succeed(self, name: str) -> Slot[M] | None:
        """Have the successor of a model, if there is one, take its place; return who had it."""
        successor = self.successors.pop(name, None)
        if successor is None:
            return None
        slot, self.current[name] = self.current[name], successor
        self._retire(slot)
        return slot

    def tidy(self) -> None:
        """Forget those who have left."""
        self._leaving = [slot for slot in self._leaving if slot.is_busy]

    def _retire(self, slot: Slot[M]) -> None:
        """See that a model goes that has no place here any more, and that nobody waits for it."""
        self._leaving.append(slot)
        slot.retire()
        if slot.load is not None:
            slot.load.cancel()
            slot.load.add_done_callback(lambda _: self.tidy())
        if slot.state is ModelState.READY:
            self._unload(slot)
        self.tidy()


def _is_same(before: LocalModel, after: LocalModel) -> bool:
    """Say whether two sections mean the same model, whenever it is in memory."""
    update = {name: getattr(after, name) for name in COMINGS_AND_GOINGS}
    return before.model_copy(update=update) == after
