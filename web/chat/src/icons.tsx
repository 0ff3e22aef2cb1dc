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

export function KeyIcon() {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true">
      <circle cx="5" cy="8" r="3" />
      <path d="M8 8h6.2v2.6M11.4 8v2" />
    </svg>
  );
}
