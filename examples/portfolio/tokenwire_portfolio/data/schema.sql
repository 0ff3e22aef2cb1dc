-- The sample database. Numbers with decimals are TEXT, exactly as they stand in the CSV files:
-- SQLite has no decimal type, and REAL would round money. Days are ISO 8601.

CREATE TABLE currencies (
    currency     TEXT PRIMARY KEY,     -- ISO 4217
    minor_digits INTEGER NOT NULL      -- decimals of an amount: 2, or 0 for the yen
);

CREATE TABLE instruments (
    symbol    TEXT PRIMARY KEY,
    name      TEXT NOT NULL,
    kind      TEXT NOT NULL CHECK (kind IN ('equity', 'bond', 'fund', 'cash', 'index')),
    currency  TEXT NOT NULL REFERENCES currencies,
    price_per INTEGER NOT NULL         -- how many units the price is for: 100 of face for bonds (clean), otherwise 1
);

CREATE TABLE portfolios (
    portfolio     TEXT PRIMARY KEY,    -- short code
    name          TEXT NOT NULL UNIQUE,
    base_currency TEXT NOT NULL REFERENCES currencies,
    benchmark     TEXT NOT NULL REFERENCES instruments,
    opened        TEXT NOT NULL
);

CREATE TABLE limits (
    portfolio TEXT NOT NULL REFERENCES portfolios,
    measure   TEXT NOT NULL CHECK (measure IN ('largest_position')),
    maximum   TEXT NOT NULL,           -- share of the net asset value
    PRIMARY KEY (portfolio, measure)
) WITHOUT ROWID;

-- What a portfolio holds after the last day of `prices`. Earlier quantities follow by taking back the
-- transactions since: `quantity` from the instrument, `amount` from the cash of its currency.
CREATE TABLE holdings (
    portfolio TEXT NOT NULL REFERENCES portfolios,
    symbol    TEXT NOT NULL REFERENCES instruments,
    quantity  TEXT NOT NULL,
    PRIMARY KEY (portfolio, symbol)
) WITHOUT ROWID;

CREATE TABLE transactions (
    id        INTEGER PRIMARY KEY,
    day       TEXT NOT NULL,
    portfolio TEXT NOT NULL REFERENCES portfolios,
    kind      TEXT NOT NULL CHECK (kind IN ('buy', 'sell', 'dividend', 'coupon', 'fee', 'deposit', 'withdrawal')),
    symbol    TEXT REFERENCES instruments,
    quantity  TEXT NOT NULL,           -- change of the instrument's quantity
    currency  TEXT NOT NULL REFERENCES currencies,
    amount    TEXT NOT NULL            -- change of the cash in that currency
);

CREATE TABLE prices (                  -- closing prices; cash has none, its price is 1
    symbol TEXT NOT NULL REFERENCES instruments,
    day    TEXT NOT NULL,
    price  TEXT NOT NULL,
    PRIMARY KEY (symbol, day)
) WITHOUT ROWID;

CREATE TABLE fx_rates (                -- the US dollar itself has none, its rate is 1
    currency TEXT NOT NULL REFERENCES currencies,
    day      TEXT NOT NULL,
    usd      TEXT NOT NULL,            -- US dollars for one unit
    PRIMARY KEY (currency, day)
) WITHOUT ROWID;
