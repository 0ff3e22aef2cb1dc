import { type SyntheticEvent, useId, useState } from "react";
import { isKey, type KeyState } from "./api-key.ts";
import { KeyIcon } from "./icons.tsx";

interface KeyFormProps {
  readonly wanted: NonNullable<KeyState["wanted"]>;
  readonly onUse: (key: string) => void;
}

const COMPLAINTS = {
  missing: "",
  wrong: "The server did not accept this key. Try another one.",
  odd: "A key has no blanks and only plain letters, digits and signs.",
} as const;

/**
 * Asks for the key without which the server does not answer.
 *
 * The field has no name: a form that is sent without this script would send nothing.
 */
export function KeyForm({ wanted, onUse }: KeyFormProps) {
  const [text, setText] = useState("");
  const [odd, setOdd] = useState(false);
  const id = useId();
  const complaint = COMPLAINTS[odd ? "odd" : wanted];

  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    const key = text.trim();
    setOdd(!isKey(key));
    if (!isKey(key)) return;
    setText("");
    onUse(key);
  };

  return (
    <form className="key-form" method="post" onSubmit={submit}>
      <KeyIcon />
      <label htmlFor={id}>This server wants an API key</label>
      <p className="key-hint" id={`${id}-hint`}>
        It stays in this tab and is forgotten when you close it.
      </p>
      <input
        id={id}
        data-testid="api-key"
        type="password"
        value={text}
        placeholder="API key"
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        aria-invalid={complaint !== ""}
        aria-describedby={`${id}-complaint ${id}-hint`}
        // The user's question waits for this and nothing else
        autoFocus
        onChange={(event) => {
          setText(event.target.value);
        }}
      />
      <button type="submit" data-testid="api-key-use" disabled={text.trim() === ""}>
        Use this key
      </button>
      <p className="key-complaint" id={`${id}-complaint`} role="alert">
        {complaint}
      </p>
    </form>
  );
}
