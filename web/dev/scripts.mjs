/** What the fake edge's agents would yield, by the question's first word. */

export const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";

const FRUITS =
  "Three fruits, from crisp to soft:\n\n1. Apples keep for months in a cool cellar.\n2. Pears ripen from the inside out.\n3. Figs are best on the day they fall.";
const QUERY = {
  sql: "select fund, sum(quantity * price) as nav from holdings group by fund",
  asOf: "2025-11-21",
};
const HOLDINGS_SQL = `SELECT h.symbol, i.name, h.quantity, p.price, p.day AS price_day
FROM holdings AS h
JOIN instruments AS i ON i.symbol = h.symbol
LEFT JOIN prices AS p ON p.symbol = h.symbol
  AND p.day = (SELECT max(day) FROM prices WHERE symbol = h.symbol AND day <= :day)
WHERE h.portfolio = :portfolio
ORDER BY h.symbol`;
const HOLDINGS = Array.from({ length: 24 }, (_, index) => [
  `FKE${String(index + 1).padStart(3, "0")}`,
  ["Harbour Freight & Rail", "Southern Copper Works", "Quiet Bank <b>plc</b>", "Treasury 4.25 % 2034"][
    index % 4
  ],
  (index + 1) * 1250,
  index === 5 ? null : (18.5 + index * 7.31).toFixed(2),
  "2025-11-21",
]);
const HOLDINGS_RESULT = {
  columns: ["symbol", "name", "quantity", "price", "price_day"],
  rows: HOLDINGS.slice(0, 20),
  rowCount: HOLDINGS.length,
};
const REPORT = `## Net asset value on 21 November 2025

Two portfolios were valued; **one** needs a look before it is *signed off*.

| Portfolio | Currency | Net asset value | Positions | Findings |
| --- | --- | ---: | ---: | ---: |
| Harbour Growth | AUD | 18,231,044.12 | 24 | 1 |
| Southern Bond \\| Income | USD | 9,120,377.50 | 8 | 0 |

### What validation found

- Harbour Growth (**warning**): no price for \`FKE006\` on the day
  - the last one is 14 days old
  - it was carried forward
- Southern Bond: nothing

1. Ask the vendor for the price.
2. Run the query again:

\`\`\`sql
SELECT day, price FROM prices
WHERE symbol = 'FKE006' AND day > '2025-11-01'
ORDER BY day DESC;
\`\`\`

---

Values are rounded half away from zero; 2**10 stays as it is.
`;
const ROWS = [
  { fund: "Harbour Growth", nav: 18231044.12 },
  { fund: "Southern Bond", nav: 9120377.5 },
];

const MARKS = `# Everything at once

A [link](https://example.com), *italic*, **bold**, ***both***, ~~gone~~ and \`code\`. A [bad one](javascript:alert(1)).

> A quote of two lines
> with **bold** in it

- [x] done
- [ ] to do
- plain
  1. one
  2. two

#### Deep

| Column with a long name | Another column | A third column | And a fourth one | Fifth |
| --- | :-: | ---: | --- | --- |
| a cell with quite some text in it | centred | 1,234.50 | line<br>break | x |
| b | c | 2 | d | y |

![a cat](https://example.com/cat.png)

https://example.com/${"path/".repeat(20)}
`;

/** What an agent would yield: `[pause in ms, event]`. */
export const SCRIPTS = {
  plain: () => [[300], ...words(FRUITS, 35)],
  slow: () => [[300], ...words(`${FRUITS}\n\n`.repeat(20), 60)],
  code: () => [
    [100],
    ...words(
      "<img src=x onerror=alert(1)>\n<b>not bold</b>\n\nhttps://example.invalid/".concat("x".repeat(90)),
      10,
    ),
  ],
  tools: () => [
    [100, { type: "reasoning_delta", content: "Holdings first, then prices; the values follow from both." }],
    [150, { type: "progress", percent: 10, message: "Fetching holdings" }],
    [150, { type: "tool_start", callId: "c1", tool: "query_database", args: QUERY }],
    [400, { type: "tool_result", callId: "c1", tool: "query_database", result: ROWS, isError: false }],
    [100, { type: "tool_start", callId: "c2", tool: "fetch_price", args: { isin: "AU000000BHP4" } }],
    [
      300,
      {
        type: "tool_result",
        callId: "c2",
        tool: "fetch_price",
        result: "No price for this day.",
        isError: true,
      },
    ],
    [100, { type: "progress", percent: 62, message: "Calculating net asset values" }],
    [100, { type: "tool_start", callId: "c3", tool: "validate", args: { funds: 2, tolerance: 0.01 } }],
    [2500, { type: "tool_result", callId: "c3", tool: "validate", result: { ok: true }, isError: false }],
    [50, { type: "progress", percent: 100, message: "Complete" }],
    ...words("Two funds, 27.4 million in all. Harbour Growth leads with 18.2 million.", 40),
  ],
  nav: () => [
    [150, { type: "progress", percent: 20, message: "Fetching holdings… Harbour Growth (1 of 2)" }],
    [
      100,
      {
        type: "tool_start",
        callId: "query-1",
        tool: "query_database",
        args: { sql: HOLDINGS_SQL, parameters: { portfolio: "HARBOUR", day: "2025-11-21" } },
      },
    ],
    [
      300,
      {
        type: "tool_result",
        callId: "query-1",
        tool: "query_database",
        result: HOLDINGS_RESULT,
        isError: false,
      },
    ],
    [100, { type: "progress", percent: 100, message: "Complete" }],
    ...words(REPORT, 25),
  ],
  marks: () => [[100], ...words(MARKS, 10)],
  many: () => [
    ...Array.from({ length: 14 }, (_, index) => [
      [
        60,
        {
          type: "tool_start",
          callId: `m${index}`,
          tool: "query_database",
          args: { sql: HOLDINGS_SQL, parameters: { portfolio: `FUND ${index + 1}`, day: "2025-11-21" } },
        },
      ],
      [
        100,
        {
          type: "tool_result",
          callId: `m${index}`,
          tool: "query_database",
          result: HOLDINGS_RESULT,
          isError: false,
        },
      ],
    ]).flat(),
    ...words(REPORT, 15),
  ],
  error: () => [
    ...words("The first quarter began with", 40),
    [
      100,
      {
        type: "error",
        code: "UNAVAILABLE",
        message: "The model is busy right now.",
        retryable: true,
        traceId: TRACE,
      },
    ],
  ],
  drop: () => [
    ...words("This line breaks here, and is taken up again", 60),
    [0, "drop"],
    ...words(" without a word lost.", 60),
  ],
  lost: () => [...words("This run is lost", 60), [0, "vanish"]],
};

function words(text, pauseMs) {
  return text.split(/(?<=\s)/).map((content) => [pauseMs, { type: "text_delta", content }]);
}
