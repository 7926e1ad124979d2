"""What holds an answer back until somebody opens it: a test awaits no time then. Memory only."""

import asyncio
from collections import OrderedDict


class Gates:
    """Gates by name; each is closed until it is opened, and open from then on."""

    def __init__(self, *, names_max: int) -> None:
        """The names that came last are remembered."""
        self._names_max = names_max
        self._opened: OrderedDict[str, asyncio.Event] = OrderedDict()

    def opened(self, name: str) -> asyncio.Event:
        """What is set once a gate is open."""
        gate = self._opened.setdefault(name, asyncio.Event())
        self._opened.move_to_end(name)
        if len(self._opened) > self._names_max:
            self._opened.popitem(last=False)
        return gate

    def open(self, name: str) -> None:
        """Let every answer go that waits at a gate, or comes to it."""
        self.opened(name).set()

    def clear(self) -> None:
        """Forget those that are open; what waits can still be let go."""
        for name in [name for name, gate in self._opened.items() if gate.is_set()]:
            del self._opened[name]
