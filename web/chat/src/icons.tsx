/** The wire: two tokens on their way. */
export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 24 24" aria-hidden="true">
      <path className="mark-wire" d="M2 12h4.6M17.4 12H22" />
      <circle cx="9.2" cy="12" r="2.2" />
      <circle cx="14.8" cy="12" r="2.2" />
    </svg>
  );
}

export function SendIcon() {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d="M8 13V3.4M3.8 7.4 8 3.2l4.2 4.2" />
    </svg>
  );
}

export function StopIcon() {
  return (
    <svg className="icon icon-filled" viewBox="0 0 16 16" aria-hidden="true">
      <rect x="3.5" y="3.5" width="9" height="9" rx="2" />
    </svg>
  );
}

export function AlertIcon() {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true">
      <circle cx="8" cy="8" r="6.2" />
      <path d="M8 4.8v3.8M8 11.1v.1" />
    </svg>
  );
}

export function KeyIcon() {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true">
      <circle cx="5" cy="8" r="3" />
      <path d="M8 8h6.2v2.6M11.4 8v2" />
    </svg>
  );
}

export function CheckIcon() {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d="m3.4 8.6 3 3 6.2-7" />
    </svg>
  );
}
