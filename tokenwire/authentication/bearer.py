"""Several methods of authentication side by side."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tokenwire.authentication.contract import BearerMethod, bearer_of


class AnyMethod:
    """Has each bearer checked by the one method whose form it has.

    A bearer that is refused there is not tried with another: a token that is not valid is no key.

    Args:
        methods: In the order in which they are asked; the last takes all that is left.
    """

    def __init__(self, *methods: BearerMethod) -> None:
        self._methods = methods

    async def principal_of(self, authorization: str) -> str:
        """Return the principal of what the header carries."""
        bearer = bearer_of(authorization)
        method = next((each for each in self._methods if each.takes(bearer)), self._methods[-1])
        return await method.principal_of(authorization)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Enter the contexts of all methods."""
        async with AsyncExitStack() as stack:
            for method in self._methods:
                await stack.enter_async_context(method.running())
            yield
