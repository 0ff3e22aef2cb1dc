/** Answers for the tests: as models write them, and as they should not. */
export const ANSWERS: readonly string[] = [
  "\n\nPlain text,\n  in two lines.\n\n\nAnd a third. ",
  "## Report\n\nTwo **bold *words*** and `code **here**`, 2**3, a\\_b, \\*not bold\\*.\n",
  "Fruits:\n\n1. Apples\n   - *red*\n   - **green**\n2. Pears\n   keep\n\n   long\n\n10) Figs\n\nEnd.\n",
  "| Fund | NAV |\n| --- | ---: |\n| A \\| B | 1,234.50 |\n| C | **2** | 3 |\n| D\n\nAfter.\r\nEnd",
  "Run:\n```sql\nselect '**', `x`\n\n| 1 |\n```\n~~~~\n~~~\n~~~~\n- a\n---\n***\n",
  "**never closed\n`nor this\n\n```js\nnor that **x**\n``",
  "<b>bold</b>\n<img src=x onerror=alert(1)>\n\\\\ \\| ** **\n-\n-- \n#\n# \n|\n||\n| |\n",
  "- a\r\n- b\r\n\r\n| x |\r\n|---|\r\n| y |\r\n\r\n```\r\nz\r\n```\r\n",
];
