"""An agent that writes a long answer in Markdown, for what looks at the page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Final

from agent_core.agents import RunRequest

PIECE_CHARS: Final = 4
"""As long as a model's tokens are, about."""

SECTION: Final = """\
## Part {number}

Net asset values are computed **each evening**, from the *last prices* that a source has given; see
[the sources](https://example.org/sources) for `price_date`. A sentence of usual length goes on behind it.

* One position of {number} has no price: it was left out.
* A rate is missing, so that of the day before was used:
  1. first the dollar,
  2. then the pound.

| Portfolio | Currency | Net asset value |
|---|---|---:|
| Alpine {number} | CHF | 5,545,113.33 |
| Pacific {number} | USD | 11,828,608.11 |

```sql
SELECT portfolio, sum(quantity * price) FROM holdings WHERE part = {number} GROUP BY portfolio;
```

> Whoever quotes this is right about {number}.

"""


async def answer(request: RunRequest) -> AsyncIterator[str]:
    """Yield an answer of so many characters, so many pieces a second.

    Args:
        request: Its message is JSON: `{"chars": 20000, "rate": 200}`.
    """
    asked = json.loads(request.message)
    clock = asyncio.get_running_loop().time
    began, pieces = clock(), _pieces(asked["chars"])
    for number, piece in enumerate(pieces):
        await asyncio.sleep(began + number / asked["rate"] - clock())
        yield piece


def _pieces(chars: int) -> Iterator[str]:
    text = ""
    for number in count(1):
        text += SECTION.format(number=number)
        if len(text) >= chars:
            break
    return (text[begin : min(begin + PIECE_CHARS, chars)] for begin in range(0, chars, PIECE_CHARS))
