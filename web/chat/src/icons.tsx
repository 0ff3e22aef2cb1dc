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

export function ListIcon() {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d="M2.5 4h11M2.5 8h11M2.5 12h7" />
    </svg>
  );
}

export function CloseIcon() {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d="M4 4l8 8M12 4l-8 8" />
    </svg>
  );
}

export function PulseIcon() {
  return (
    <svg className="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d="M1.5 9h3l2-5.5 3 9 2-3.5h3" />
    </svg>
  );
}
